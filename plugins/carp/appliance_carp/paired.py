"""Passwords and keys of hellos from the pairing of the nodes: asked for at the start, and again whenever they change.

A virtual host without a password in the configuration gets a derived one, another for each VHID, the same on all
paired nodes. New keys come to one node after the other: what follows from them is staged like any other change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import trio

from appliance.errors import ApplianceError
from appliance.events import DerivedKey, GetKeys, KeysChanged
from appliance.identity.derive import carp_password
from appliance.plugin.context import Context, NoProvider, Overflow, ProviderFailed
from appliance_carp.settings import CarpSettings, VipSettings

PASSWORDS, HELLOS = "carp-password", "carp-hello"
"""Purposes of `GetKeys`."""
KEYS_MAX = 4
"""Keys per purpose; two during a rotation."""
KEY_BYTES = 32
ANSWER_S = 5.0
"""A healthy provider answers in milliseconds; a slow disk may take a second."""
RETRY_S = 1.0
"""Until somebody who did not answer is asked again..."""
RETRY_MAX_S = 30.0
"""...and after several times: most likely nobody pairs nodes here."""


@dataclass(slots=True)
class PairedKeys:
    """What is known of the keys; empty while the node is not paired."""

    passwords: tuple[bytes, ...] = ()
    """The first one is used."""
    hellos: tuple[bytes, ...] = ()
    """The first one is used, all are understood."""
    problem: str = ""
    """Why there are none, when somebody could have given them."""

    def resolve(self, settings: CarpSettings, remembered: Mapping[tuple[str, str], str]) -> CarpSettings:
        """These settings with a password for every virtual host; those for which there is none are left out.

        Args:
            settings: As configured.
            remembered: Passwords by interface and name, in force when this node last ran; used until keys are there.
        """
        vips = (replace(vip, password=vip.password or self._password(vip, remembered)) for vip in settings.vips)
        return replace(settings, vips=tuple(vip for vip in vips if vip.password))

    def _password(self, vip: VipSettings, remembered: Mapping[tuple[str, str], str]) -> str:
        if self.passwords:
            return carp_password(self.passwords[0], f"{vip.interface} {vip.vhid}".encode())
        return remembered.get((vip.interface, vip.name), "")

    async def follow(self, ctx: Context, learnt: Callable[[], None]) -> None:
        """Ask now and after each change, for ever; `learnt` is called when something is another than before."""
        with ctx.subscribe(KeysChanged, overflow=Overflow.COALESCE) as news:
            pause_s = RETRY_S / 2
            while True:
                before = (self.passwords, self.hellos, self.problem)
                is_answered = await self._ask(ctx)
                if before != (self.passwords, self.hellos, self.problem):
                    learnt()
                pause_s = RETRY_S if is_answered else min(2 * pause_s, RETRY_MAX_S)
                with trio.move_on_after(math.inf if is_answered else pause_s):
                    await news.receive()

    async def _ask(self, ctx: Context) -> bool:
        """Whether there was an answer that stays true until there is news; without one what was known is kept."""
        try:
            with trio.fail_after(ANSWER_S):
                passwords = usable(await ctx.call(GetKeys(purpose=PASSWORDS)))
                hellos = usable(await ctx.call(GetKeys(purpose=HELLOS)))
        except (NoProvider, trio.TooSlowError):
            return False  # nobody pairs nodes here, or its service is just starting
        except (ApplianceError, ProviderFailed) as error:
            self.problem = str(error)
            return False
        self.passwords, self.hellos, self.problem = passwords, hellos, ""
        return True


def usable(keys: Iterable[DerivedKey]) -> tuple[bytes, ...]:
    """The keys as bytes.

    Raises:
        ApplianceError: They are not what keys are.
    """
    found = tuple(each.key.value for each in keys)
    if len(found) > KEYS_MAX or any(len(each) != KEY_BYTES for each in found):
        raise ApplianceError(
            f"{len(found)} keys, at most {KEYS_MAX} of {KEY_BYTES} bytes are usable",
            hint="Bring all plugins of this node to the same version.",
        )
    return found
