"""Two paired nodes and strangers, on the loopback."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.rpc import Caller, Limits, Listen, Method, Server, Target, Timeouts, Value, expect, tls

CALM = Limits()
WAITING = Timeouts()
SHORT = Limits(
    handshake_s=0.5,
    headers_s=0.5,
    idle_s=1.0,
    body_grace_s=0.5,
    body_stall_s=0.3,
    send_stall_s=0.5,
    authenticate_s=2.0,
    method_s=0.5,
    linger_s=0.3,
)
"""For tests of what is too slow; nothing else should depend on the speed of the machine."""
HASTY = Timeouts(connect_s=0.5, handshake_s=0.5, send_stall_s=0.5, answer_s=2.0, read_stall_s=0.5)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        return tls.fingerprint(self.certificate.read_text())


@dataclass(frozen=True)
class Peers:
    """a and b are paired; the stranger knows them but they do not know it; the child is signed by a."""

    a: Identity
    b: Identity
    stranger: Identity
    child: Identity

    def client(self, who: Identity | None = None, *, sees: Identity | None = None) -> tls.Tls:
        who = who or self.a
        return tls.client_tls(who.certificate, who.key, [(sees or self.b).certificate])

    def server(self, *, optional: bool = False) -> tls.Tls:
        peers = [] if optional else [self.a.certificate]
        return tls.server_tls(self.b.certificate, self.b.key, peers, optional=optional)

    def raw_context(self, who: Identity | None = None) -> ssl.SSLContext:
        """For clients that are not ours."""
        return self.client(who).context


def make_peers(folder: Path) -> Peers:
    a, a_key = _make(folder, "a")
    b, _ = _make(folder, "b")
    stranger, _ = _make(folder, "stranger")
    child, _ = _make(folder, "child", issuer=("a", a_key))
    return Peers(a=a, b=b, stranger=stranger, child=child)


def _make(
    folder: Path,
    name: str,
    issuer: tuple[str, ec.EllipticCurvePrivateKey] | None = None,
    years: tuple[int, int] = (2020, 2050),
) -> tuple[Identity, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    signer, signing_key = issuer or (name, key)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, signer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(years[0], 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(years[1], 1, 1, tzinfo=datetime.UTC))
        .sign(signing_key, hashes.SHA256())
    )
    identity = Identity(certificate=folder / f"{name}.pem", key=folder / f"{name}.key")
    identity.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    identity.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return identity, key


def make_expired(folder: Path) -> Identity:
    return _make(folder, "expired", years=(2001, 2002))[0]


@dataclass
class Notes:
    """A log that remembers."""

    entries: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def info(self, event: str, **fields: object) -> None:
        self.entries.append((event, fields))

    warning = error = info

    def named(self, event: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.entries if name == event]


async def echo(params: list[Value], caller: Caller) -> object:
    return params


async def add(params: list[Value], caller: Caller) -> object:
    expect(params, int, int)
    return sum(value for value in params if isinstance(value, int))


async def whoami(params: list[Value], caller: Caller) -> object:
    return {"fingerprint": caller.fingerprint, "address": caller.address, "user": caller.user}


async def crash(params: list[Value], caller: Caller) -> object:
    raise RuntimeError("a defect")


async def hang(params: list[Value], caller: Caller) -> object:
    await trio.sleep_forever()
    return True


METHODS: Mapping[str, Method] = {
    "appliance.echo": echo,
    "appliance.add": add,
    "appliance.whoami": whoami,
    "appliance.crash": crash,
    "appliance.hang": hang,
}


@dataclass
class Running:
    """A server that runs."""

    server: Server
    notes: Notes
    target: Target


@contextlib.asynccontextmanager
async def serving(
    peers: Peers,
    *,
    methods: Mapping[str, Method] = METHODS,
    limits: Limits = CALM,
    server_tls: tls.Tls | None = None,
    authenticate: Callable[..., bool] | None = None,
    known: frozenset[str] = frozenset(),
) -> AsyncIterator[Running]:
    notes = Notes()
    server = Server(
        Listen(address="127.0.0.1", port=0),
        server_tls or peers.server(),
        methods,
        authenticate=authenticate,
        known=known,
        limits=limits,
        log=notes,
        rebind_s=0.05,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        try:
            yield Running(server, notes, Target(address="127.0.0.1", port=server.port))
        finally:
            nursery.cancel_scope.cancel()


def run(main: Callable[[], Awaitable[None]], *, within_s: float = 20) -> None:
    """Run a test in trio, in bounded time."""

    async def bounded() -> None:
        with trio.fail_after(within_s):
            await main()

    trio.run(bounded)
