"""Getting to know other nodes: hellos are judged here, and tokens are drawn until a session can begin.

Both sides draw a random token for each other and offer it in their hellos. Whoever hears its own token echoed
knows that the hello is no recording; with the peer's token a session can begin. A token serves for one session:
when the peer offers another one, a new own one is drawn.

Version policy: the highest version that both ranges contain is spoken; when there is none, the node is refused
with a sentence that names both ranges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from appliance_pfsync.native import hello as hellos
from appliance_pfsync.native.header import Malformed
from appliance_pfsync.native.hello import NO_TOKEN, TOKEN_BYTES, Entry, Hello
from appliance_pfsync.native.keys import Keyring

PEERS_MAX = 15
STRANGERS_MAX = 64
STRANGER_S = 10.0
"""Somebody without a session is forgotten after this silence."""
BOOT_BYTES = 8


class RefusedError(Exception):
    """Somebody with whom this node does not replicate."""

    def __init__(self, name: str, why: str, *, is_proven: bool = True) -> None:
        super().__init__(why)
        self.name = name
        self.why = why
        self.is_proven = is_proven
        """It has been said with a secret of this node, if there are secrets."""


class News(Enum):
    """What a hello means."""

    NOTHING = auto()
    """It offers the tokens of the session there is."""
    ANSWER = auto()
    """It waits for something that the next hello will say."""
    BEGIN = auto()
    """A session can begin with `Known.own` and `Known.theirs`."""


@dataclass(slots=True)
class Known:
    """One life of another node."""

    name: str
    boot: int
    first_at: float
    own: bytes = field(repr=False)
    address: str = ""
    heard_at: float = 0.0
    sequence: int = -1
    version: int = 0
    states: int = 0
    features: int = 0
    key_ids: tuple[bytes, ...] = ()
    theirs: bytes = field(default=NO_TOKEN, repr=False)
    is_joined: bool = False
    """`own` and `theirs` have become a session."""

    def learn(self, entry: Entry | None, draw: Callable[[int], bytes]) -> News:
        """Take what it says to this node."""
        if entry is None or entry.offer == NO_TOKEN:
            return News.ANSWER
        if self.is_joined:
            if entry.offer == self.theirs:
                return News.NOTHING if entry.echo == self.own else News.ANSWER
            self.own, self.is_joined = draw(TOKEN_BYTES), False
        self.theirs = entry.offer
        if entry.echo != self.own:
            return News.ANSWER
        self.is_joined = True
        return News.BEGIN


class Greeter:
    """This node's hellos, and everybody whose hellos it has heard."""

    def __init__(
        self, *, node: str, versions: tuple[int, int], keyring: Keyring | None, random_bytes: Callable[[int], bytes]
    ) -> None:
        self.node = node
        self.versions = versions
        self.keyring = keyring
        self._random_bytes = random_bytes
        self.boot = int.from_bytes(random_bytes(BOOT_BYTES), "big")
        self._sequence = 0
        self._known: dict[int, Known] = {}
        self.pinned: frozenset[int] = frozenset()
        """Boots of nodes with a session: they are not forgotten."""

    # --- speaking ------------------------------------------------------------------------------------------

    def hello(self, states: int) -> bytes:
        """The next hello of this node."""
        self._sequence += 1
        known = sorted(self._known.values(), key=lambda each: (each.boot not in self.pinned, -each.heard_at))
        entries = tuple(Entry(each.boot, each.own, each.theirs) for each in known[: hellos.ENTRIES_MAX])
        hello = Hello(
            node=self.node,
            boot=self.boot,
            sequence=self._sequence,
            states=states,
            versions=self.versions,
            entries=entries,
        )
        return hellos.encode(hello, self.keyring)

    # --- hearing -------------------------------------------------------------------------------------------

    def hear(self, datagram: bytes, source: str, now: float) -> tuple[Known, News]:
        """Judge a hello.

        Raises:
            Malformed: It is none, is forged, or was heard before.
            RefusedError: Its sender is not to be spoken to.
        """
        signed = self._parsed(datagram)
        hello = signed.hello
        if hello.boot == self.boot:
            raise Malformed("own")
        self._check_keys(signed)
        if hello.node == self.node:
            raise RefusedError(hello.node, "another node has the name of this one")
        version = self._common_version(hello)
        known = self._known.get(hello.boot)
        if known is None:
            known = self._remember(hello, now)
        elif hello.sequence <= known.sequence or hello.node != known.name:
            raise Malformed("replayed")
        known.sequence, known.heard_at, known.address = hello.sequence, now, source
        known.version, known.states, known.features = version, hello.states, hello.features
        known.key_ids = signed.key_ids
        return known, known.learn(hello.entry_for(self.boot), self._random_bytes)

    def _parsed(self, datagram: bytes) -> hellos.Signed:
        try:
            return hellos.parse(datagram)
        except Malformed as malformed:
            if malformed.reason != "badversion":
                raise
            why = f"its hello has format {datagram[2]}, that of this node {hellos.FORMAT}"
            raise RefusedError("", why, is_proven=False) from None

    def _check_keys(self, signed: hellos.Signed) -> None:
        name = signed.hello.node
        if self.keyring is None:
            if signed.key_ids:
                raise RefusedError(name, "it has secrets, and this node has no key file", is_proven=False)
        elif not signed.key_ids:
            raise RefusedError(name, "it has no key file, and this node has secrets", is_proven=False)
        elif not signed.shares_key(self.keyring):
            raise RefusedError(name, "it has none of the secrets of this node", is_proven=False)
        elif not signed.is_authentic(self.keyring):
            raise Malformed("forged")

    def _common_version(self, hello: Hello) -> int:
        version = min(hello.versions[1], self.versions[1])
        if version < max(hello.versions[0], self.versions[0]):
            raise RefusedError(
                hello.node,
                f"it speaks versions {_span(hello.versions)} of the protocol, this node {_span(self.versions)}",
            )
        return version

    def _remember(self, hello: Hello, now: float) -> Known:
        self._forget_old(now)
        known = Known(hello.node, hello.boot, now, self._random_bytes(TOKEN_BYTES))
        self._known[hello.boot] = known
        return known

    def _forget_old(self, now: float) -> None:
        strangers = sorted(
            (each for each in self._known.values() if each.boot not in self.pinned), key=lambda each: each.heard_at
        )
        surplus = len(strangers) - STRANGERS_MAX + 1
        for place, each in enumerate(strangers):
            if place < surplus or now - each.heard_at > STRANGER_S:
                del self._known[each.boot]

    def forget(self, boot: int) -> None:
        """That life of a node is over."""
        self._known.pop(boot, None)

    def forget_all(self) -> None:
        """Begin anew with everybody."""
        self._known.clear()

    def key_ids_of(self, boot: int) -> tuple[bytes, ...]:
        """The secrets that a node has, by its last hello."""
        known = self._known.get(boot)
        return known.key_ids if known else ()


def _span(versions: tuple[int, int]) -> str:
    return str(versions[0]) if versions[0] == versions[1] else f"{versions[0]} to {versions[1]}"
