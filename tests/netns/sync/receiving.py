"""Two firewalls in the lab, paired by their command lines, and the standard library's client beside the primary."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from appliance.identity.passwords import hash_password
from appliance.lab import Lab, netns
from appliance.lab.config import NodeSettings

T = TypeVar("T")

FW2 = "172.16.1.3"
PORT = 8443
SECTION = "aliases"
TABLE = '[xmlrpc_sync]\ninterface = "sync"\n'
SETTINGS = NodeSettings(firewall=True, extra=TABLE)
"""Both nodes only receive: what is sent comes from the tests."""
TALK_S = 15.0
"""For what takes a tenth of a second."""


def introduce(lab: Lab) -> list[dict[str, Any]]:
    """Pair fw1 with fw2 by their command lines; what they print, the listening one first."""
    listening = lab.popen("fw2", "appliance", "pair", "--listen", "--json")
    assert listening.stdout is not None
    shown = json.loads(listening.stdout.readline())
    given = lab.exec("fw1", "appliance", "pair", FW2, "--code", shown["code"], "--json")
    rest, _ = listening.communicate(timeout=TALK_S)
    assert listening.returncode == 0, rest
    return [shown, json.loads(given.stdout), json.loads(rest)]


class TlsTransport(xmlrpc.client.SafeTransport):
    """The standard library's, with patience that ends."""

    def make_connection(self, host: Any) -> Any:
        """Open it."""
        made = super().make_connection(host)
        made.timeout = TALK_S
        return made


def context(lab: Lab) -> ssl.SSLContext:
    """What an independent client needs: the identity of fw1, and the certificate of fw2 as the only authority."""
    folder = lab.state_dir("fw1") / "xmlrpc-sync" / "identity"
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_cert_chain(folder / "own.pem", folder / "own.key")
    made.load_verify_locations(folder / "peers" / "fw2.pem")
    return made


def talk(lab: Lab, work: Callable[[Any], T], *, tls: ssl.SSLContext | None = None) -> T:
    """Call methods of fw2 from fw1 by the standard library; `work` gets the proxy of ``appliance.``."""
    chosen = tls or context(lab)

    def inside() -> T:
        url = f"https://{FW2}:{PORT}/RPC2"
        transport = TlsTransport(use_builtin_types=True, context=chosen)
        with xmlrpc.client.ServerProxy(url, transport=transport, use_builtin_types=True) as proxy:
            return work(proxy.appliance)

    return netns.inside(lab.topology.namespace("fw1"), inside)


def outsider(lab: Lab, *, user: str = "", password: str = "") -> dict[str, Any]:
    """What a client of another language gets from fw2 with the identity of fw1."""
    folder = lab.state_dir("fw1") / "xmlrpc-sync" / "identity"
    files = [folder / "own.pem", folder / "own.key", folder / "peers" / "fw2.pem"]
    script = Path(__file__).with_name("outsider.rb")
    found = lab.exec("fw1", "ruby", str(script), FW2, str(PORT), *map(str, files), user, password)
    return dict(json.loads(found.stdout))


@contextmanager
def with_users(lab: Lab, **roles: str) -> Iterator[None]:
    """While the block lasts fw2 has these users of its own with their roles; the password of each is its name."""
    path = lab.config_path("fw2")
    before = path.read_text()
    tables = [
        f'\n[users.{name}]\nrole = "{role}"\nnosync = true\nhash = "{hash_password(name)}"\n'
        for name, role in roles.items()
    ]
    path.write_text(before + "".join(tables))
    lab.request("fw2", "config", "reload")
    try:
        yield
    finally:
        path.write_text(before)
        lab.request("fw2", "config", "reload")


def aliases(number: int, size: int = 20) -> dict[str, Any]:
    """A section that is the same in every entry, so that a mixture could be seen."""
    entries = {f"list_{each}": {"type": "hosts", "entries": [f"192.0.2.{number}"]} for each in range(size)}
    return {"firewall": {"alias": entries}}


def offer(data: Mapping[str, Any]) -> dict[str, Any]:
    """The first parameter of `restore_config_section`."""
    raw = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return {SECTION: {"data": raw, "sha256": hashlib.sha256(raw).hexdigest()}}


def push(lab: Lab, data: Mapping[str, Any], **meta: Any) -> dict[str, Any]:
    """Send and confirm over a new connection, as a primary does."""
    sent: dict[str, Any] = talk(lab, lambda fw2: fw2.restore_config_section(offer(data), meta))
    talk(lab, lambda fw2: fw2.confirm_config(sent["txn"]))
    return sent


def in_force(lab: Lab) -> set[str]:
    """The entries of all aliases on fw2: one, unless two configurations are mixed."""
    data = talk(lab, lambda fw2: fw2.backup_config_section([SECTION]))
    table = json.loads(data[SECTION]).get("firewall", {}).get("alias", {})
    return {entry for alias in table.values() for entry in alias["entries"]}


def is_reachable(lab: Lab, port: int) -> bool:
    """Whether fw1 can connect to this port of fw2."""
    command = ["timeout", "1", "bash", "-c", f"</dev/tcp/{FW2}/{port}"]
    return lab.exec("fw1", *command, check=False).returncode == 0


def answers(lab: Lab) -> bool:
    """Whether fw2 answers its paired peer."""
    try:
        return bool(talk(lab, lambda fw2: fw2.config_digest()))
    except (OSError, xmlrpc.client.Error, http.client.HTTPException):
        return False
