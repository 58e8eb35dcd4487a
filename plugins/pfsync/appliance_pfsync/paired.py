"""The keys that the pairing of the nodes gives: asked for at the start, and again whenever they are others."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from appliance.errors import ApplianceError
from appliance.events import DerivedKey, GetKeys, KeysChanged
from appliance.identity.remedy import PAIR
from appliance.plugin.context import Context, NoProvider, Overflow, ProviderFailed
from appliance_pfsync.native.keys import KEYS_MAX, SECRET_MIN_BYTES, Key, Keyring

PURPOSE = "pfsync"
ANSWER_S = 5.0
"""A healthy provider answers in milliseconds; a slow disk may take a second."""
RETRY_S = 1.0
"""Until somebody who did not answer is asked again."""


class NoKeysError(ApplianceError):
    """There are no keys, or none any more: nothing may be sent or accepted."""


class PairedKeys:
    """What is known of the keys. `follow` learns, `read_if_changed` tells."""

    def __init__(self) -> None:
        self._keyring: Keyring | None = None
        self._is_fresh = False
        self._problem: ApplianceError | None = NoKeysError("nobody has given keys for pfsync yet", hint=PAIR)

    def read_if_changed(self) -> Keyring | None:
        """The keyring if it is another one than at the last call.

        Raises:
            NoKeysError: There are none (any more).
            ApplianceError: They cannot be read. What was known before stays in force.
        """
        if self._problem is not None:
            raise self._problem
        if not self._is_fresh:
            return None
        self._is_fresh = False
        return self._keyring

    async def follow(
        self, ctx: Context, learnt: Callable[[], None], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Ask now and after each change, for ever; started after the first answer or its absence.

        Args:
            ctx: Of the service.
            learnt: Called after each answer.
            task_status: Of trio.
        """
        is_first = True
        with ctx.subscribe(KeysChanged, overflow=Overflow.COALESCE) as news:
            while True:
                is_answered = await self._ask(ctx)
                if is_first:
                    task_status.started()
                    is_first = False
                learnt()
                with trio.move_on_after(math.inf if is_answered else RETRY_S):
                    await news.receive()

    async def _ask(self, ctx: Context) -> bool:
        """Whether there was an answer that stays true until there is news."""
        try:
            with trio.fail_after(ANSWER_S):
                self.learn(await ctx.call(GetKeys(purpose=PURPOSE)))
        except (NoProvider, trio.TooSlowError):
            # Its service is starting, or being restarted: with keys this node goes on meanwhile.
            if self._keyring is None:
                self._problem = NoKeysError("the service that pairs the nodes does not answer", hint=PAIR)
            return False
        except ProviderFailed as error:
            self._problem = ApplianceError(f"the keys for pfsync cannot be had: {error}", hint=PAIR)
            return False
        except ApplianceError as error:
            self._problem = ApplianceError(f"the keys for pfsync cannot be had: {error.message}", hint=error.hint)
            return False
        return True

    def learn(self, keys: tuple[DerivedKey, ...]) -> None:
        """Take an answer. Equal keys are no change.

        Raises:
            ApplianceError: They are not what a key is.
        """
        if not keys:
            self._keyring, self._is_fresh = None, False
            self._problem = NoKeysError("pfsync has no key: this node is not paired and has no key_file", hint=PAIR)
            return
        keyring = _keyring(keys)
        if keyring != self._keyring:
            self._keyring, self._is_fresh = keyring, True
        self._problem = None


def _keyring(keys: tuple[DerivedKey, ...]) -> Keyring:
    if len(keys) > KEYS_MAX or any(len(each.key.value) < SECRET_MIN_BYTES for each in keys):
        raise ApplianceError(
            f"{len(keys)} keys, at most {KEYS_MAX} of at least {SECRET_MIN_BYTES} bytes are usable",
            hint="Bring all plugins of this node to the same version.",
        )
    return Keyring(tuple(Key(each.id, each.key.value) for each in keys))
