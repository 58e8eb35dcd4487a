"""Real servers on the loopback: a web server, a mail server, syslog servers; well, slow, refusing or broken."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import trio
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance_notify.vocabulary import Entry, Kind, Message, Notice, Severity

HOST = "127.0.0.1"
NOTICE = Notice(
    id="fw1-run-1", at=1_700_000_000.0, kind=Kind.ROLE, severity=Severity.WARNING, key="role/lan/1", what="BACKUP ä"
)
MESSAGE = Message(node="fw1", entries=(Entry(notice=NOTICE),))


def run(main: Callable[[], Awaitable[None]]) -> None:
    """A test of real sockets, bounded."""

    async def bounded() -> None:
        with trio.fail_after(30):
            await main()

    trio.run(bounded)


@dataclass(frozen=True)
class Certificate:
    """A certificate of 127.0.0.1 that has signed itself, in files."""

    path: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.path, self.key)
        return made


def make_certificate(folder: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    found = Certificate(path=folder / "server.pem", key=folder / "server.key")
    found.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found


def free_port() -> int:
    """Nobody listens there, for the moment."""
    with socket.socket() as made:
        made.bind((HOST, 0))
        port: int = made.getsockname()[1]
        return port


# --- web -------------------------------------------------------------------------------------------------------


@dataclass
class Web:
    """What a web server does, and what it got."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    """Of the next answers; then 204."""
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextlib.contextmanager
def web(certificate: Certificate | None = None, *, port: int = 0) -> Iterator[Web]:
    """A web server in a thread."""
    told = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            told.headers.append(dict(self.headers))
            told.paths.append(self.path)
            self.send_response(told.statuses.pop(0) if told.statuses else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not on the terminal."""

    class Quiet(http.server.ThreadingHTTPServer):
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            """A client that does not like the certificate."""

    with Quiet((HOST, port), Handler) as server:
        if certificate is not None:
            server.socket = certificate.context().wrap_socket(server.socket, server_side=True)
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


@contextlib.asynccontextmanager
async def tcp(
    answer: Callable[[trio.SocketStream], Awaitable[None]],
) -> Any:
    """A TCP server that does this with every connection; gives its port."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


# --- mail ------------------------------------------------------------------------------------------------------


@dataclass
class Mailbox:
    """What a mail server got."""

    port: int = 0
    mails: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    """Answer to RCPT by recipient."""
    answer: str = "250 taken"
    """To the mail."""

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(envelope.content)
        self.recipients.append(list(envelope.rcpt_tos))
        return self.answer


def _greet(port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((HOST, port), 5) as made, context.wrap_socket(made) as stream:
        stream.recv(100)


@contextlib.contextmanager
def mailbox(certificate: Certificate | None = None, *, implicit: bool = False, password: str = "") -> Iterator[Mailbox]:
    """A mail server in a thread: with STARTTLS, or TLS from the first byte, and perhaps with users."""
    box = Mailbox()

    def check(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        box.logins.append((data.login, data.password))
        return AuthResult(success=data.password == password.encode(), handled=False)

    options: dict[str, Any] = {"authenticator": check, "auth_required": not implicit} if password else {}
    if certificate is not None and implicit:
        options |= {"ssl_context": certificate.context(), "auth_require_tls": False}
    elif certificate is not None:
        options |= {"tls_context": certificate.context(), "require_starttls": True}
    controller = Controller(box, hostname=HOST, port=free_port(), **options)
    if certificate is not None and implicit:
        # Its own trial connection would not accept a certificate that nobody knows.
        controller._trigger_server = lambda: _greet(controller.port)  # type: ignore[method-assign]
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()
