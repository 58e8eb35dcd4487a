"""Keys of the cluster for other plugins, derived from the pairing secrets of this node."""

from __future__ import annotations

from typing import Literal, cast, get_args

import trio

from appliance.errors import RefusedError
from appliance.events import DerivedKey, GetKeys, Request
from appliance.events.config import Hidden
from appliance.identity.derive import key_for
from appliance.identity.keyring import Keyring
from appliance_xmlrpc_sync.introductions import Introductions

Purpose = Literal["pfsync", "carp-hello", "carp-password"]
"""Those of `appliance.identity.derive.Purpose`."""


def keys_of(keyring: Keyring, purpose: Purpose) -> tuple[DerivedKey, ...]:
    """One key of each secret: that of the sending one first, then the others, newest first.

    A secret that is only proposed comes behind the one that sends, however new it is: not all nodes may have it.
    """
    others = (held for held in keyring.secrets if held is not keyring.current)
    return tuple(
        DerivedKey(id=held.id, key=Hidden(key_for(held.secret, purpose, b""))) for held in (keyring.current, *others)
    )


class SharedKeys:
    """Answers `GetKeys`.

    Args:
        introductions: Who is paired, and where the secrets are.
    """

    def __init__(self, introductions: Introductions) -> None:
        self._introductions = introductions

    async def answer(self, asked: Request[tuple[DerivedKey, ...]]) -> tuple[DerivedKey, ...]:
        """The keys for a purpose; none while no node is paired, whatever secrets are left over.

        Raises:
            RefusedError: There is no such purpose.
            ApplianceError: The identity or the secrets of this node cannot be used.
        """
        assert isinstance(asked, GetKeys)
        if asked.purpose not in get_args(Purpose):
            raise RefusedError(
                f"there are no keys for {asked.purpose!r}", hint=f"There are some for {', '.join(get_args(Purpose))}."
            )
        introductions = self._introductions
        if introductions.problem is not None:
            raise introductions.problem
        keyring = await trio.to_thread.run_sync(introductions.store.keyring)
        if keyring is None or not introductions.peers:
            return ()
        return keys_of(keyring, cast("Purpose", asked.purpose))
