"""Mails, against a real mail server."""

from __future__ import annotations

import threading
from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest
import trio

from appliance.testing.waiting import eventually
from appliance_notify.dialing import Dialer
from appliance_notify.mail import deliver
from appliance_notify.settings import Mail
from appliance_notify.vocabulary import DeliveryError
from tests.unit.plugins.notify.servers import HOST, MESSAGE, Certificate, Mailbox, mailbox, run, tcp

OPEN = Mail(
    name="noc",
    host=HOST,
    port=0,
    security="none",
    sender="fw@example.net",
    recipients=("a@example.net", "b@example.net"),
)


def failure(target: Mail) -> DeliveryError:
    found: list[DeliveryError] = []

    async def main() -> None:
        with pytest.raises(DeliveryError) as error:
            await deliver(target, MESSAGE, Dialer({}))
        found.append(error.value)

    run(main)
    return found[0]


def to(box: Mailbox, target: Mail = OPEN) -> Mail:
    return replace(target, port=box.port)


def test_all_recipients_get_the_mail() -> None:
    with mailbox() as box:
        run(lambda: deliver(to(box), MESSAGE, Dialer({})))
    assert box.recipients == [["a@example.net", "b@example.net"]]
    assert message_from_bytes(box.mails[0], policy=default)["Subject"] == "[fw1] warning: BACKUP ä"
    assert box.mails[0].isascii()


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_encrypted_and_with_a_password(certificate: Certificate, security: str) -> None:
    with mailbox(certificate, implicit=security == "tls", password="s3cret") as box:
        target = replace(to(box), security=security, ca_file=str(certificate.path), username="fw", password="s3cret")
        run(lambda: deliver(target, MESSAGE, Dialer({})))
    assert box.logins == [(b"fw", b"s3cret")]
    assert len(box.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_is_not_trusted_gets_no_password(certificate: Certificate, security: str) -> None:
    with mailbox(certificate, implicit=security == "tls", password="s3cret") as box:
        error = failure(replace(to(box), security=security, username="fw", password="s3cret"))
    assert error.reason == f"no TLS with {HOST}: its certificate is not accepted (self-signed certificate)"
    assert (box.logins, box.mails) == ([], [])


def test_a_server_without_starttls_gets_nothing() -> None:
    with mailbox() as box:
        error = failure(replace(to(box), security="starttls"))
    assert error.reason == f"{HOST}: STARTTLS extension not supported by server."
    assert (box.mails, error.lasting) == ([], False)


def test_a_wrong_password_is_said_and_tried_again(certificate: Certificate) -> None:
    with mailbox(certificate, password="s3cret") as box:
        target = replace(to(box), security="starttls", ca_file=str(certificate.path), username="fw", password="guessed")
        error = failure(target)
    assert "refused user or password: 535" in error.reason
    assert "guessed" not in error.reason
    assert not error.lasting


@pytest.mark.parametrize(("code", "lasting"), [("450 busy", False), ("550 unknown", True)])
def test_recipients_that_are_refused(code: str, lasting: bool) -> None:
    with mailbox() as box:
        box.refuse = dict.fromkeys(OPEN.recipients, code)
        error = failure(to(box))
    assert error.reason == f"{HOST} refused all recipients: {code}"
    assert error.lasting is lasting


def test_the_others_get_it_once() -> None:
    with mailbox() as box:
        box.refuse = {"b@example.net": "550 unknown"}
        error = failure(to(box))
    assert error.reason == f"{HOST} refused the recipients b@example.net"
    assert error.lasting
    assert box.recipients == [["a@example.net"]]


@pytest.mark.parametrize(("answer", "lasting"), [("451 full", False), ("554 spam", True)])
def test_a_mail_that_is_refused(answer: str, lasting: bool) -> None:
    with mailbox() as box:
        box.answer = answer
        error = failure(to(box))
    assert error.reason == f"{HOST} refused it: {answer}"
    assert error.lasting is lasting


def test_the_thread_of_a_server_that_says_nothing_ends_with_the_deadline() -> None:
    async def silence(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        before = {thread.ident for thread in threading.enumerate()}
        async with tcp(silence) as port:
            with trio.move_on_after(0.3) as patience:
                await deliver(replace(OPEN, port=port), MESSAGE, Dialer({}))
            assert patience.cancelled_caught
            # Threads of trio wait for other work for some seconds; this one does not wait for the server.
            busy = [each for each in threading.enumerate() if each.ident not in before and "_send" in each.name]
            await eventually(lambda: not any(each.is_alive() and "_send" in each.name for each in busy))

    run(main)


def test_a_server_that_hangs_up() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hello\r\n")

    async def main() -> None:
        async with tcp(answer) as port:
            with pytest.raises(DeliveryError, match=HOST):
                await deliver(replace(OPEN, port=port), MESSAGE, Dialer({}))

    run(main)
