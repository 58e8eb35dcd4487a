"""Why a peer does not have the configuration: each cause has its sentence and its remedy, and harms nobody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.lab import Lab
from appliance.lab.config import node_toml
from appliance.lab.waiting import wait_until
from tests.netns.sync.clusters import SETTLE_S, address, cluster, in_sync, introduce, settings
from tests.netns.sync.receiving import with_users

pytestmark = [pytest.mark.netns, pytest.mark.slow]

FW2, PORT = address(2), 8443
WHERE = f"{FW2}:{PORT}"


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    """Two nodes that are paired and in sync."""
    with cluster() as lab:
        yield lab


@pytest.fixture(autouse=True)
def unharmed(pair: Lab) -> Iterator[None]:
    """Both are in sync before, and again after what went wrong; no role moves on the primary."""
    in_sync(pair)
    before = roles(pair)
    yield
    # The next look by itself may be a minute away.
    wait_until(lambda: pair.request("fw1", "sync", "now")["state"] == "in-sync", "they are in sync again", SETTLE_S)
    assert roles(pair) == before


def roles(lab: Lab) -> list[tuple[str, str]]:
    """Of the virtual hosts of the primary, and since when."""
    shown: dict[str, Any] = lab.request("fw1", "show", "carp")
    return [(vip["state"], vip["since"]) for vip in shown["vips"]]


def failure(lab: Lab) -> tuple[str, str, str]:
    """Cause, sentence and remedy, as `sync now` and then `show sync` tell them."""
    (now,) = lab.request("fw1", "sync", "now")["peers"]  # type: ignore[index, union-attr]
    shown: dict[str, Any] = lab.request("fw1", "show", "sync")
    (row,) = shown["peers"]
    assert (shown["state"], shown["error"], shown["remedy"]) == ("failing", row["error"], row["remedy"])
    assert isinstance(now, dict)
    assert now["cause"] == row["cause"]
    return row["cause"], row["error"], row["remedy"]


@contextmanager
def impostor(lab: Lab, kind: str, *files: Path) -> Iterator[None]:
    """While the block lasts something else listens in the place of fw2, whose software is stopped."""
    script = Path(__file__).with_name("impostor.py")
    with lab.popen("fw2", sys.executable, str(script), FW2, str(PORT), kind, *map(str, files)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield
        finally:
            process.kill()


@contextmanager
def primary(lab: Lab, sync: str) -> Iterator[None]:
    """While the block lasts ``[xmlrpc_sync]`` of fw1 has these lines."""
    path = lab.config_path("fw1")
    before = path.read_text()
    path.write_text(node_toml(lab.topology, "fw1", settings(lab.topology, sync=sync)["fw1"]))
    lab.request("fw1", "config", "reload", "--confirm", "60")
    lab.request("fw1", "config", "confirm")
    try:
        yield
    finally:
        path.write_text(before)
        lab.request("fw1", "config", "reload", "--confirm", "60")
        lab.request("fw1", "config", "confirm")


def certificate(folder: Path, *, years: tuple[int, int]) -> tuple[Path, Path]:
    """A certificate that calls itself fw2, valid in these years, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fw2")])
    first, last = (datetime(year, 1, 1, tzinfo=UTC) for year in years)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), first, last)
    files = folder / "other.pem", folder / "other.key"
    files[0].write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.fixture
def stopped(pair: Lab) -> Iterator[Lab]:
    """The pair, while fw2's software is stopped."""
    pair.stop("fw2")
    yield pair
    pair.start("fw2")


def test_something_else_in_the_place_of_the_other_node(stopped: Lab, tmp_path: Path) -> None:
    cause, error, remedy = failure(stopped)
    assert (cause, error) == ("refused", f"nothing listens on {WHERE} (connection refused)")
    assert "Start the appliance there" in remedy
    for years in (2020, 2100), (2001, 2002):  # the second one has expired
        with impostor(stopped, "tls", *certificate(tmp_path, years=years)):
            cause, error, remedy = failure(stopped)
        assert (cause, error.partition(" (")[0]) == (
            "identity",
            f"the certificate of {WHERE} is not the one that was paired",
        )
        assert "pair the nodes again; if not, find out who answers there" in remedy
    with impostor(stopped, "http"):
        cause, error, remedy = failure(stopped)
    assert (cause, error) == ("nonsense", f"{WHERE} does not speak TLS 1.3: its answer is not TLS")
    assert "not the one of another service" in remedy
    with impostor(stopped, "silent"):
        cause, error, remedy = failure(stopped)
    assert (cause, error) == ("silent", f"{WHERE} did not finish the TLS handshake within 5 s")
    assert "overloaded or hangs" in remedy
    folder = stopped.state_dir("fw2") / "xmlrpc-sync" / "identity"
    with impostor(stopped, "tls", folder / "own.pem", folder / "own.key"):
        cause, error, remedy = failure(stopped)
    assert (cause, error) == ("silent", f"{WHERE} did not send the rest of its answer within 10 s")
    assert "may have been carried out" in remedy


def test_a_node_that_has_forgotten_this_one(pair: Lab) -> None:
    pair.request("fw2", "pair", "remove", "fw1")
    cause, error, remedy = failure(pair)
    introduce(pair, "fw2")
    # A node that is paired with nobody does not listen at all.
    assert cause in ("refused", "not paired"), error
    assert "nothing listens on" in error or "does not accept the certificate" in error
    assert remedy


def test_a_node_that_this_one_has_forgotten(pair: Lab) -> None:
    pair.request("fw1", "pair", "remove", "fw2")
    cause, error, remedy = failure(pair)
    introduce(pair, "fw2")
    assert (cause, error) == ("not paired", f"this node is not paired with {FW2}")
    assert f"'appliance pair {FW2} --code …'" in remedy


def test_user_password_and_privilege_are_told_apart(pair: Lab, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.touch(0o600)
    with with_users(pair, admin="sync", eye="viewer"):
        cause, error, remedy = failure(pair)
        assert (cause, error) == ("password", f"{WHERE} refused a call without user: unknown user or wrong password")
        assert "same user and password" in remedy
        secret.write_text("wrong")
        with primary(pair, f'password_file = "{secret}"'):
            cause, error, _ = failure(pair)
            assert (cause, error) == ("password", f"{WHERE} refused user 'admin': unknown user or wrong password")
        secret.write_text("eye")
        with primary(pair, f'password_file = "{secret}"\nusername = "eye"\nconfirm = 11'):
            pair.request("fw1", "config", "show")
            path = pair.config_path("fw1")
            path.write_text(path.read_text().replace('description = "', 'description = "a change: ', 1))
            pair.request("fw1", "config", "reload")
            cause, error, remedy = failure(pair)
            assert cause == "privilege"
            assert "the user eye may not change or read the configuration of this node" in error
            assert "the role `sync`" in remedy


def test_another_port(pair: Lab) -> None:
    with primary(pair, "port = 9443"):
        cause, error, remedy = failure(pair)
    assert cause in ("refused", "unreachable"), "the firewall of the other node drops what it does not know"
    assert f"{FW2}:9443" in error
    assert "port" in remedy
