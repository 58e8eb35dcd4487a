"""A new pairing secret on all nodes without an outage: make before break.

One node leads; any may. It asks all nodes, itself first, step by step, and goes on when all have answered::

    survey    what do you hold, with what do you send, whom are you paired with?
    propose   hold this secret as well
    switch    send with it
              (wait until nothing is under way that was sent with an older one)
    forget    remove what is older

Why any two nodes always share a secret, whatever is lost, late, repeated, or killed, and even when two nodes lead at
once: secrets have one order, and a node only moves towards newer ones. It never sends with an older secret than before
and removes only what is older than the one that is named. *Switch* to X is said only after all nodes hold X, *forget*
only after all send with X or a newer one. So the newest X for which any *forget* was said is held by all nodes (only a
newer *forget* removes it), and a secret that is used for sending is held by all nodes.

An interrupted rotation is repeated: the survey finds the newest secret anywhere, and the leader finishes with that one.
It makes a new one only when nothing is left over. The leader holds a new secret before anybody hears of it; so each
node can leave at most one unfinished secret behind.

`answer` is the side of each node, `Rotation` that of the leader. Both know neither sockets nor clocks.
"""

from __future__ import annotations

import secrets as random_numbers
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from appliance.identity.keyring import (
    CREATED_MAX,
    SECRETS_MAX,
    Age,
    Keyring,
    PairingSecret,
    decode_age,
    decode_secret,
    encode_age,
    encode_secret,
    is_id,
    keyring_of,
    new_secret,
)
from appliance.identity.names import is_name
from appliance.identity.store import PEERS_MAX

SETTLE_S = 5.0
"""Between *switch* and *forget*, in seconds: longer than any datagram is under way or waits in a queue."""
REASON_MAX = 500
"""Characters of a refusal."""

Step = Literal["survey", "fetch", "propose", "switch", "forget"]
Wire = dict[str, object]
"""A request or an answer as a call carries it: text, numbers, lists and dictionaries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the leader asks one node to do. Repeating it does no harm."""

    step: Step
    members: tuple[str, ...]
    """All nodes that the leader knows, itself included."""
    id: str = ""
    """The secret that is meant; empty for *survey* and *propose*."""
    secret: PairingSecret | None = None
    """The secret of *propose*."""

    def wire(self) -> Wire:
        """As it is sent."""
        made: Wire = {"step": self.step, "members": list(self.members), "id": self.id}
        return made if self.secret is None else {**made, "secret": encode_secret(self.secret)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a node says to it: how it stands now."""

    refused: str = ""
    """Why it did not do it; empty when it did."""
    holds: tuple[Age, ...] = ()
    """The secrets it has, newest first."""
    sending: str = ""
    """Id of the one it sends with."""
    peers: tuple[str, ...] = ()
    """Names of the nodes it is paired with."""
    secret: PairingSecret | None = None
    """The secret that *fetch* asked for."""

    def wire(self) -> Wire:
        """As it is sent."""
        made: Wire = {
            "refused": self.refused[:REASON_MAX],
            "holds": [encode_age(age) for age in self.holds],
            "sending": self.sending,
            "peers": list(self.peers),
        }
        return made if self.secret is None else {**made, "secret": encode_secret(self.secret)}


def parse_request(data: object) -> Request:
    """Read a request of a peer.

    Raises:
        ValueError: It is malformed.
    """
    if not isinstance(data, dict) or data.get("step") not in get_args(Step):
        raise ValueError("the request of a rotation has no step that this node knows")
    step, identifier, secret = data["step"], data.get("id", ""), data.get("secret")
    if identifier != "" and not is_id(identifier):
        raise ValueError("the request of a rotation names no secret")
    if (step == "propose") != (secret is not None) or (step in ("fetch", "switch", "forget")) != (identifier != ""):
        raise ValueError(f"a request to {step} does not come with what it needs")
    made = None if secret is None else decode_secret(secret)
    return Request(step=step, members=_names(data.get("members"), PEERS_MAX + 1), id=identifier, secret=made)


def parse_answer(data: object) -> Answer:
    """Read an answer of a peer.

    Raises:
        ValueError: It is malformed.
    """
    if not isinstance(data, dict):
        raise ValueError("the answer of a rotation is malformed")  # noqa: TRY004 - one kind of error for all of it
    refused, holds, sending, secret = (data.get(part) for part in ("refused", "holds", "sending", "secret"))
    if not isinstance(refused, str) or len(refused) > REASON_MAX:
        raise ValueError("the answer of a rotation has no reason")
    if not isinstance(holds, list) or len(holds) > SECRETS_MAX or not (holds or refused):
        raise ValueError("the answer of a rotation does not say what the node holds")
    if sending != "" and not is_id(sending):
        raise ValueError("the answer of a rotation does not say what the node sends with")
    return Answer(
        refused=refused,
        holds=tuple(decode_age(age) for age in holds),
        sending=str(sending),
        peers=_names(data.get("peers"), PEERS_MAX),
        secret=None if secret is None else decode_secret(secret),
    )


def answer(
    keyring: Keyring | None, request: Request, *, own: str, peers: Collection[str]
) -> tuple[Keyring | None, Answer]:
    """Do what the leader asks.

    Args:
        keyring: What this node holds.
        request: From a peer, or from the leader on this node itself.
        own: Name of this node.
        peers: Names of the nodes it is paired with.

    Returns:
        What the node holds from now on, to be stored before the answer is sent; and the answer.
    """
    strangers = sorted({own, *peers} - set(request.members))
    if keyring is None:
        refused = f"{own} has no pairing secret: pair it again"
    elif strangers:
        # It would be left behind, because the leader does not ask it.
        refused = f"{own} is paired with {', '.join(strangers)}, and the leading node is not: pair them first"
    else:
        keyring, refused = _do(keyring, request, own)
    return keyring, _answer(keyring, refused, peers, request)


def second_proposal(keyring: Keyring | None, secret: PairingSecret, earlier: str, own: str) -> Answer | None:
    """The refusal of a node that proposes one secret after the other without ever switching to one.

    None that keeps to the rules above does, and one that does not must not use up the room for the secrets of others.

    Args:
        keyring: What this node holds.
        secret: What the peer proposes.
        earlier: Id of what it proposed before; empty if it has not.
        own: Name of this node.
    """
    held = keyring.find(earlier) if keyring is not None else None
    if keyring is None or held is None or held.id == secret.id or held.age <= keyring.current.age:
        return None
    refused = f"{own} still holds another secret of the same node, which it has to finish first"
    return Answer(refused=refused, holds=tuple(each.age for each in keyring.secrets), sending=keyring.sending)


def _do(keyring: Keyring, request: Request, own: str) -> tuple[Keyring, str]:
    """The keyring afterwards, and why it was not done."""
    if request.step == "propose" and request.secret is not None:
        return _propose(keyring, request.secret, own)
    meant = keyring.find(request.id)
    if request.step == "switch":
        if meant is None:
            return keyring, f"{own} does not hold this secret; another rotation may have overtaken this one"
        return (keyring if meant.age < keyring.current.age else keyring_of(keyring.secrets, sending=meant.id)), ""
    if request.step == "forget":
        if meant is None or meant.age > keyring.current.age:
            return keyring, f"{own} does not send with this secret; another rotation may have overtaken this one"
        left = [held for held in keyring.secrets if held.age >= meant.age]
        return keyring_of(left, sending=keyring.sending), ""
    if request.step == "fetch" and meant is None:
        return keyring, f"{own} does not hold this secret any more"
    return keyring, ""


def _propose(keyring: Keyring, secret: PairingSecret, own: str) -> tuple[Keyring, str]:
    if keyring.find(secret.id) is not None:
        return keyring, ""
    if secret.age < keyring.current.age:
        return keyring, f"{own} uses a newer secret already; another rotation has overtaken this one"
    if secret.created > max(CREATED_MAX, keyring.newest.created + 1):
        return keyring, f"{own} takes no secret that leaves no room for a newer one"
    if len(keyring.secrets) >= SECRETS_MAX:
        return keyring, f"{own} holds {SECRETS_MAX} secrets, left over from interrupted rotations: pair it anew"
    return keyring_of([*keyring.secrets, secret], sending=keyring.sending), ""


def _answer(keyring: Keyring | None, refused: str, peers: Collection[str], request: Request) -> Answer:
    if keyring is None:
        return Answer(refused=refused, peers=tuple(sorted(peers)))
    return Answer(
        refused=refused,
        holds=tuple(held.age for held in keyring.secrets),
        sending=keyring.sending,
        peers=tuple(sorted(peers)),
        secret=keyring.find(request.id) if request.step == "fetch" and not refused else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask these nodes, which may be at the same time, and hand in each answer; then poll again."""

    requests: Mapping[str, Request]
    """By name of the node; never empty."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Poll again then."""

    until: float


@dataclass(frozen=True, slots=True)
class Done:
    """All nodes send with this secret, or one newer that another leader brought, and hold no older one."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The rotation stopped. Everything works as before; repeating it goes on where it stopped."""

    message: str
    hint: str


Action = Ask | Wait | Done | Failed


class Rotation:
    """The leader. Poll it for what to do; it waits for nobody by itself.

    Steps: ``survey``, perhaps ``fetch``, ``hold`` (propose to itself), ``propose``, ``switch``, ``forget``.
    """

    def __init__(
        self,
        own: str,
        peers: Collection[str],
        *,
        wall: int,
        settle: float = SETTLE_S,
        random: Callable[[int], bytes] = random_numbers.token_bytes,
    ) -> None:
        """Begin, or go on with one that was interrupted.

        Args:
            own: Name of this node, which is asked like the others.
            peers: Names of all others.
            wall: Seconds since the epoch; orders the new secret after the old ones.
            settle: Seconds between *switch* and *forget*.
            random: For the new secret.
        """
        self._own, self._wall, self._settle, self._random = own, wall, settle, random
        self._members = tuple(sorted({own, *peers}))
        self._asked: dict[str, Request] = {}
        self._answers: dict[str, Answer] = {}
        self._step: Literal["survey", "fetch", "hold", "propose", "switch", "forget"] = "survey"
        self._target: PairingSecret | None = None
        self._target_id = ""
        self._is_clean_up = False
        self._settled_at: float | None = None
        self._end: Done | Failed | None = None
        self._ask("survey", self._members)

    def poll(self, now: float) -> Action:
        """What to do next.

        Args:
            now: Seconds of a clock that does not jump.
        """
        while self._end is None and not self._asked:
            if self._settled_at is not None and now < self._settled_at:
                return Wait(self._settled_at)
            self._advance(now)
        return self._end or Ask(requests=dict(self._asked))

    def answered(self, node: str, answer: Answer) -> None:
        """Hand in the answer of a node; one that was not asked for is ignored."""
        if self._asked.pop(node, None) is None or self._end is not None:
            return
        if answer.refused:
            self._fail(answer.refused, "Put that right, then run 'appliance pair rotate' again.")
        self._answers[node] = answer

    def unanswered(self, node: str, why: str) -> None:
        """Say that a node did not answer."""
        if self._asked.pop(node, None) is not None and self._end is None:
            self._fail(
                f"{node} does not answer: {why}",
                f"Run 'appliance pair rotate' again when it does; if it is gone, 'appliance pair remove {node}' first.",
            )

    def _fail(self, message: str, hint: str) -> None:
        self._asked.clear()
        self._end = Failed(message=f"the pairing secret is not rotated: {message}", hint=hint)

    def _ask(
        self, step: Step, nodes: Collection[str], *, identifier: str = "", secret: PairingSecret | None = None
    ) -> None:
        self._answers = {}
        request = Request(step=step, members=self._members, id=identifier, secret=secret)
        self._asked = dict.fromkeys(nodes, request)

    def _advance(self, now: float) -> None:
        """All answers of a step are there: begin the next."""
        match self._step:
            case "survey":
                self._choose()
            case "fetch":
                self._fetched()
            case "hold":
                self._step = "propose"
                self._ask("propose", [name for name in self._members if name != self._own], secret=self._target)
            case "propose":
                self._step = "switch"
                self._ask("switch", self._members, identifier=self._target_id)
            case "switch":
                self._after_switch(now)
            case "forget":
                self._after_forget()

    def _choose(self) -> None:
        """After the survey: what is left over is finished first."""
        held = {name: set(answer.holds) for name, answer in self._answers.items()}
        newest = max(age for ages in held.values() for age in ages)
        self._target_id = newest[1]
        is_sent_by_all = all(answer.sending == newest[1] for answer in self._answers.values())
        if all(ages == {newest} for ages in held.values()) and is_sent_by_all:
            self._hold(new_secret(self._wall, newer_than=[newest], random=self._random))
            return
        # When all send with it, only the older ones are left over: remove them, and then do what was asked for.
        self._is_clean_up = is_sent_by_all
        holder = self._own if newest in held[self._own] else min(name for name, ages in held.items() if newest in ages)
        self._step = "fetch"
        self._ask("fetch", [holder], identifier=newest[1])

    def _fetched(self) -> None:
        secret = next(iter(self._answers.values())).secret
        if secret is None or secret.id != self._target_id:
            self._fail(f"{next(iter(self._answers))} did not send the secret it was asked for", "Try again.")
        else:
            self._hold(secret)

    def _hold(self, secret: PairingSecret) -> None:
        self._target, self._target_id = secret, secret.id
        self._step = "hold"
        self._ask("propose", [self._own], secret=secret)

    def _after_switch(self, now: float) -> None:
        if self._settled_at is None:
            self._settled_at = now + self._settle
            return
        self._settled_at = None
        self._step = "forget"
        self._ask("forget", self._members, identifier=self._target_id)

    def _after_forget(self) -> None:
        if not self._is_clean_up:
            self._end = Done(self._target_id)
            return
        self._is_clean_up = False
        self._step = "survey"
        self._ask("survey", self._members)


def _names(value: object, limit: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > limit or not all(is_name(name) for name in value):
        raise ValueError("the names of nodes in a rotation are malformed")
    return tuple(value)
