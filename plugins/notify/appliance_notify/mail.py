"""Delivers a message as a mail. The standard library speaks SMTP, in a thread that cannot outlive its deadline."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
import time
from contextlib import suppress
from email.message import EmailMessage

import trio

from appliance_notify.dialing import Dialer, tls_context, tls_reason
from appliance_notify.formats import mail
from appliance_notify.settings import Mail
from appliance_notify.vocabulary import DeliveryError, Message

REPLY_S = 10.0
"""For each answer of the server."""


async def deliver(target: Mail, message: Message, dialer: Dialer) -> None:
    """Deliver, under the caller's deadline.

    Raises:
        DeliveryError: It was not accepted for all recipients.
    """
    made = mail(message, sender=target.sender, recipients=target.recipients, now=time.time())
    context = tls_context(target.ca_file) if target.security != "none" else None
    connection = await dialer.stream(target.host, target.port)
    # One for the thread, which closes it, and one to end the connection when the deadline comes first.
    own = socket.socket(fileno=os.dup(connection.socket.fileno()))
    own.settimeout(REPLY_S)
    try:
        await trio.to_thread.run_sync(
            _send, target, made, own, context, message.node, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
        )
    finally:
        _cut(connection)


def _cut(connection: trio.SocketStream) -> None:
    with suppress(OSError):  # the server was quicker
        connection.socket.shutdown(socket.SHUT_RDWR)
    connection.socket.close()


class _Session(smtplib.SMTP):
    """SMTP over a connection that is there already: it comes from the right address."""

    def __init__(self, made: socket.socket, target: Mail, context: ssl.SSLContext | None, node: str) -> None:
        self._made, self._wrap = made, context if target.security == "tls" else None
        super().__init__(target.host, target.port, local_hostname=node, timeout=REPLY_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        if self._wrap is None:
            return self._made
        return self._wrap.wrap_socket(self._made, server_hostname=host)


def _send(target: Mail, made: EmailMessage, own: socket.socket, context: ssl.SSLContext | None, node: str) -> None:
    try:
        with own, _Session(own, target, context, node) as session:
            if target.security == "starttls":
                session.starttls(context=context)
            if target.username is not None and target.password is not None:
                session.login(target.username, target.password)
            refused = session.send_message(made, from_addr=target.sender, to_addrs=list(target.recipients))
    except smtplib.SMTPException as error:
        raise _refusal(target, error) from None
    except TimeoutError:
        raise DeliveryError(f"{target.host} did not answer within {REPLY_S:g} s") from None
    except ssl.SSLError as error:
        raise DeliveryError(f"no TLS with {target.host}: {tls_reason(error)}") from None
    except OSError as error:
        raise DeliveryError(f"the connection to {target.host} broke: {error.strerror or error}") from None
    if refused:
        # The others have it. Another attempt would give it to them again.
        raise DeliveryError(f"{target.host} refused the recipients {', '.join(sorted(refused))}", lasting=True)


def _refusal(target: Mail, error: smtplib.SMTPException) -> DeliveryError:
    match error:
        case smtplib.SMTPNotSupportedError():
            return DeliveryError(f"{target.host}: {error}")
        case smtplib.SMTPRecipientsRefused(recipients=recipients):
            code, text = next(iter(recipients.values()))
            return DeliveryError(f"{target.host} refused all recipients: {code} {_plain(text)}", lasting=code >= 500)
        case smtplib.SMTPAuthenticationError(smtp_code=code, smtp_error=text):
            # Somebody may correct the account; until then each attempt costs one refusal.
            return DeliveryError(f"{target.host} refused user or password: {code} {_plain(text)}")
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=text):
            return DeliveryError(f"{target.host} refused it: {code} {_plain(text)}", lasting=code >= 500)
        case _:
            return DeliveryError(f"{target.host}: {_plain(str(error))}")


def _plain(text: bytes | str) -> str:
    line = text.decode(errors="replace") if isinstance(text, bytes) else text
    return "".join(character if character.isprintable() else " " for character in line)[:200]
