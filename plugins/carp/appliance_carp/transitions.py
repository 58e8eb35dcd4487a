"""The two tables of the election: how the state of a VHID may move, and what an advert does in each state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from appliance_carp.election import Verdict
from appliance_carp.vocabulary import State

INIT, BACKUP, MASTER = State.INIT, State.BACKUP, State.MASTER
RELEASING, DISABLED = State.RELEASING, State.DISABLED

TRANSITIONS: Mapping[State, Mapping[State, str]] = {
    INIT: {
        BACKUP: "started with link, or the link came up: listen first",
        DISABLED: "switched off",
    },
    BACKUP: {
        MASTER: "dead timer, bow-out, peer proven dead, master more demoted, preemption",
        INIT: "link lost, stopped, removed",
        DISABLED: "switched off",
    },
    MASTER: {
        BACKUP: "a better master was heard",
        RELEASING: "bowed out: sicker than a peer, resigned, stopped, switched off",
        INIT: "link lost, removed",
    },
    RELEASING: {
        BACKUP: "hold time over",
        INIT: "hold time over while stopping, link lost, removed",
        DISABLED: "hold time over while switching off",
    },
    DISABLED: {
        BACKUP: "switched on with link",
        INIT: "switched on without link, stopped, removed",
    },
}
"""Every allowed move of one VHID and what causes it. Whatever is not here is a bug."""


class Action(Enum):
    """What an advert does; each is a function of `answers`."""

    YIELD = "become BACKUP"
    REASSERT = "speak and announce again"
    FOLLOW = "re-arm the dead timer"
    CHALLENGE = "follow; preempt or reunite the group when that is allowed"
    RELIEVE = "follow; take the group from a sick master"
    SUCCEED = "take what was let go"


ON_ADVERT: Mapping[tuple[State, Verdict], Action] = {
    (MASTER, Verdict.BETTER): Action.YIELD,
    (MASTER, Verdict.EQUAL): Action.YIELD,
    (MASTER, Verdict.WORSE): Action.REASSERT,
    (MASTER, Verdict.MORE_DEMOTED): Action.REASSERT,
    (MASTER, Verdict.LEAVING): Action.REASSERT,
    (MASTER, Verdict.BOW_OUT): Action.REASSERT,
    (BACKUP, Verdict.BETTER): Action.FOLLOW,
    (BACKUP, Verdict.EQUAL): Action.FOLLOW,
    (BACKUP, Verdict.WORSE): Action.CHALLENGE,
    (BACKUP, Verdict.MORE_DEMOTED): Action.RELIEVE,
    (BACKUP, Verdict.LEAVING): Action.SUCCEED,
    (BACKUP, Verdict.BOW_OUT): Action.SUCCEED,
}
"""In INIT, RELEASING and DISABLED an advert does nothing."""
