"""Two nodes meet for the first time: a short code makes each of them certain of the other's certificate.

One node listens and shows its fingerprint and a code; an operator carries the code to the other node, which begins::

    initiator -> listener    hello: name, certificate, share
    listener -> initiator    hello: name, certificate, share
    initiator -> listener    confirm: proof, own secrets, sealed
    listener -> initiator    confirm: proof, the secrets of both from now on, sealed

The shares are those of CPace (`cpace`), with the certificates as associated data, so a proof says: I know the code,
and these are the two certificates. Somebody in the middle, who ends TLS on both sides, has to guess the code in each
run and learns only that the guess was wrong. The code has 40 bits and a listener takes five wrong proofs, so an attack
succeeds with a probability of 5 / 2^40, and nothing of a run helps to try codes afterwards.

Considered and not taken:

- a proof computed with scrypt from the code. It *can* be tried afterwards: 2^40 times 0.1 s are 3500 years of one core,
  so an hour of thirty million, and a recording does not expire with the code;
- digits to compare on both screens: the operator may not look, and nothing would be shown before the connection;
- the package ``spake2``: a curve in plain Python and one more dependency, where CPace needs ten lines beside the X25519
  that is there.

The initiator proves first: the listener says nothing from which its code could be checked to somebody who did not. Both
machines know neither sockets nor clocks. One lock of the node has to be held from the call that returns `Paired` until
its keyring is stored, so that a rotation does not come in between.
"""

from __future__ import annotations

import secrets as random_numbers
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from appliance.errors import RefusedError
from appliance.identity import cpace
from appliance.identity.certificates import Certificate
from appliance.identity.codes import make_code, normal_code, shown
from appliance.identity.introduction import (
    SESSION_BYTES,
    Hello,
    Keys,
    Message,
    RefusalError,
    Refused,
    confirm_message,
    keys_of,
    malformed,
    parse_hello,
    proves,
    session_of,
    step_of,
    unseal,
)
from appliance.identity.keyring import Keyring, keyring_of, merge, new_secret
from appliance.identity.names import same_name
from appliance.identity.store import PEERS_MAX

CODE_VALID_S = 600.0
"""How long a code can be used, in seconds."""
TRIES_MAX = 5
"""Wrong proofs after which the listener closes."""
SOURCE_TRIES_MAX = 3
"""Of these from one address: an operator mistypes, and a stranger must not use up the tries of all others."""
RUNS_MAX = 8
"""Runs that have begun and are not confirmed; a further one replaces the oldest."""
SOURCE_RUNS_MAX = 2
"""Of these from one address; a further one replaces the oldest from there."""
RUN_VALID_S = 30.0
"""How long a run may take, in seconds: two calls over a local network."""

_CHANNEL = b"ha-appliance pairing 1"

Random = Callable[[int], bytes]
"""Gives that many random bytes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this message; the pairing goes on."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The pairing succeeded: store both, then send the answer."""

    certificate: Certificate
    """The peer's, to be pinned."""
    keyring: Keyring
    """What this node holds from now on."""
    answer: Message | None
    """For the initiator; the initiator itself has none to send."""


Outcome = Reply | Paired | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run as the listener remembers it between the two messages."""

    peer: Certificate
    initiator: Keys
    listener: Keys
    ends_at: float
    source: str


class Listener:
    """The side that shows the code: open for ten minutes, five wrong proofs, or one success."""

    def __init__(
        self,
        own: Certificate,
        peers: Collection[str],
        *,
        now: float,
        random: Random = random_numbers.token_bytes,
    ) -> None:
        """Open it.

        Args:
            own: The certificate of this node.
            peers: Names of the nodes it is paired with.
            now: Seconds of a clock that does not jump.
            random: For the code, and for all numbers of the runs.
        """
        self._own, self._peers, self._random = own, peers, random
        self._runs: OrderedDict[bytes, _Run] = OrderedDict()
        self._secret_code = make_code(random)
        self.code = shown(self._secret_code)
        """To be shown beside the fingerprint, ``XXXX-XXXX``."""
        self.expires_at = now + CODE_VALID_S
        """When the code stops being valid, by the clock of `now`."""
        self.tries_left = TRIES_MAX
        """Wrong proofs that are still taken."""
        self._paired_with = ""
        self._wrong: Counter[str] = Counter()

    def closed(self, now: float) -> str | None:
        """Why nobody can pair any more; ``None`` while the listener is open."""
        if self._paired_with:
            return f"the code was used by {self._paired_with}"
        if self.tries_left <= 0:
            tried = ", ".join(f"{source or 'somewhere'} ({count})" for source, count in self._wrong.most_common())
            return f"{TRIES_MAX} wrong codes were tried, from {tried}"
        return f"the code was valid for {CODE_VALID_S / 60:.0f} minutes" if now >= self.expires_at else None

    def receive(self, message: object, *, keyring: Keyring | None, now: float, wall: int, source: str = "") -> Outcome:
        """Take a message of an initiator and return what to do.

        Args:
            message: As it came; anything else than a proper message is refused.
            keyring: What this node holds at this moment.
            now: Seconds, by the same clock as at the beginning.
            wall: Seconds since the epoch, for the secret that is made when neither side has one.
            source: Address of the initiator.
        """
        why = self.closed(now)
        if why is not None:
            hint = "Run 'appliance pair --listen' on that node again."
            return Refused(kind="closed", message=f"the other node does not pair: {why}", hint=hint)
        if self._wrong[source] >= SOURCE_TRIES_MAX:
            what = f"the other node takes no more codes from this address: {SOURCE_TRIES_MAX} were wrong"
            hint = "Run 'appliance pair --listen' on that node again, and type its new code."
            return Refused(kind="closed", message=what, hint=hint)
        try:
            if step_of(message) == "hello":
                return self._hello(message, now, source)
            return self._confirm(message, keyring, now, wall)
        except RefusalError as refusal:
            return refusal.refused

    def _hello(self, message: object, now: float, source: str) -> Reply:
        session = session_of(message)
        hello = parse_hello(message)
        _check_peer(hello.certificate, self._own, self._peers)
        if session in self._runs:
            raise malformed("session")
        scalar = self._random(cpace.SCALAR_BYTES)
        share = cpace.share(scalar, cpace.generator(self._secret_code.encode(), _CHANNEL, session))
        isk = cpace.session_key(
            scalar,
            hello.share,
            session=session,
            initiator=(hello.share, hello.certificate.der),
            responder=(share, self._own.der),
        )
        if isk is None:
            raise malformed("share")
        initiator, listener = keys_of(isk)
        self._make_room(source)
        self._runs[session] = _Run(
            peer=hello.certificate, initiator=initiator, listener=listener, ends_at=now + RUN_VALID_S, source=source
        )
        return Reply(Hello(certificate=self._own, share=share, session=b"").message())

    def _make_room(self, source: str) -> None:
        same = [session for session, run in self._runs.items() if run.source == source]
        if len(same) >= SOURCE_RUNS_MAX:
            del self._runs[same[0]]
        while len(self._runs) >= RUNS_MAX:
            self._runs.popitem(last=False)

    def _confirm(self, message: object, keyring: Keyring | None, now: float, wall: int) -> Paired:
        # Whatever comes of it, a run takes one proof.
        run = self._runs.pop(session_of(message), None)
        if run is None or now >= run.ends_at:
            raise RefusalError(
                "run", "the other node does not remember this run of the pairing", "Begin again with the same code."
            )
        if not proves(run.initiator, message):
            self.tries_left -= 1
            self._wrong[run.source] += 1
            raise RefusalError(
                "code",
                f"the code is wrong, or somebody is in between; tries left: {self.tries_left}",
                "Compare the fingerprints on both nodes, and check the code.",
            )
        together = self._agree(keyring, unseal(run.initiator, message), wall)
        self._paired_with = run.peer.name
        self._runs.clear()
        return Paired(certificate=run.peer, keyring=together, answer=confirm_message(run.listener, together))

    def _agree(self, own: Keyring | None, theirs: Keyring | None, wall: int) -> Keyring:
        if theirs is not None:
            return _merged(own, theirs)
        if own is not None:
            return own
        fresh = new_secret(wall, random=self._random)
        return keyring_of([fresh], sending=fresh.id)


class Initiator:
    """The side that is given the code. Good for one run: after a refusal, make a new one."""

    def __init__(
        self, own: Certificate, peers: Collection[str], code: str, *, random: Random = random_numbers.token_bytes
    ) -> None:
        """Prepare a run.

        Args:
            own: The certificate of this node.
            peers: Names of the nodes it is paired with.
            code: As the operator typed it; blanks, hyphens and capitals do not matter.
            random: For all numbers of the run.

        Raises:
            UsageError: The code is not of the form ``XXXX-XXXX``.
        """
        self._own, self._peers = own, peers
        self._session, self._scalar = random(SESSION_BYTES), random(cpace.SCALAR_BYTES)
        base = cpace.generator(normal_code(code).encode(), _CHANNEL, self._session)
        self._share = cpace.share(self._scalar, base)
        self._met: tuple[Certificate, Keys] | None = None

    def hello(self) -> Message:
        """The first message."""
        return Hello(certificate=self._own, share=self._share, session=self._session).message()

    def receive(self, message: object, *, keyring: Keyring | None) -> Outcome:
        """Take the answer to the message that was sent last and return what to do.

        Args:
            message: As it came; anything else than a proper message is refused.
            keyring: What this node holds at this moment.
        """
        try:
            if self._met is None:
                return self._hello(message, keyring)
            return self._confirm(message, keyring, *self._met)
        except RefusalError as refusal:
            return refusal.refused

    def _hello(self, message: object, keyring: Keyring | None) -> Reply:
        if step_of(message) != "hello":
            raise malformed("step")
        hello = parse_hello(message)
        _check_peer(hello.certificate, self._own, self._peers)
        isk = cpace.session_key(
            self._scalar,
            hello.share,
            session=self._session,
            initiator=(self._share, self._own.der),
            responder=(hello.share, hello.certificate.der),
        )
        if isk is None:
            raise malformed("share")
        initiator, listener = keys_of(isk)
        self._met = (hello.certificate, listener)
        return Reply(confirm_message(initiator, keyring, session=self._session))

    def _confirm(self, message: object, keyring: Keyring | None, peer: Certificate, keys: Keys) -> Paired:
        if step_of(message) != "confirm":
            raise malformed("step")
        if not proves(keys, message):
            raise RefusalError(
                "code",
                "the other node did not prove that it knows the code; somebody may be in between",
                "Compare the fingerprints on both nodes, then listen again for a new code.",
            )
        theirs = unseal(keys, message)
        if theirs is None:
            raise malformed("sealed")
        return Paired(certificate=peer, keyring=_merged(keyring, theirs), answer=None)


def _check_peer(peer: Certificate, own: Certificate, peers: Collection[str]) -> None:
    """Refuse what the store would refuse later, when the other side already believes in the pairing."""
    if same_name(peer.name, own.name):
        raise RefusalError(
            "name",
            f"both nodes are called {own.name}",
            "Give each node a name of its own ([node] name), then make its identity anew with 'appliance pair reset'.",
        )
    if any(same_name(peer.name, name) and peer.name != name for name in peers):
        raise RefusalError(
            "name",
            f"{own.name} is paired with another node called {peer.name} in other capitals",
            "Give each node a name of its own ([node] name).",
        )
    if peer.name not in peers and len(peers) >= PEERS_MAX:
        raise RefusalError(
            "full",
            f"{own.name} is paired with {PEERS_MAX} others already",
            f"Remove one that is gone with 'appliance pair remove NAME' on {own.name}.",
        )


def _merged(own: Keyring | None, theirs: Keyring) -> Keyring:
    try:
        return merge(own, theirs)
    except RefusedError as error:
        raise RefusalError("cluster", error.message, error.hint) from error
