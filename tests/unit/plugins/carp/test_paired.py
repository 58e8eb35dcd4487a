"""Passwords and keys from the pairing: learnt, renewed, withdrawn, and kept while nobody answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError
from appliance.events import DerivedKey, GetKeys, KeysChanged
from appliance.events.config import Hidden
from appliance.identity.derive import carp_password
from appliance.plugin.context import NoProvider, ProviderFailed
from appliance_carp.paired import HELLOS, KEYS_MAX, PASSWORDS, RETRY_MAX_S, PairedKeys, usable
from tests.unit.plugins.carp.fakes import VIPS, carp, vip

OPEN = vip("open", 9, "192.168.1.9/24", interface="lan", password="")


def key(letter: str, size: int = 32) -> DerivedKey:
    return DerivedKey(id=letter, key=Hidden(letter.encode() * size))


class Bus:
    """As far as `PairedKeys` uses it."""

    def __init__(self) -> None:
        self.answer: object = NoProvider("nobody serves GetKeys")
        self.asked: list[str] = []
        self.learnt = 0
        self._send, self._receive = trio.open_memory_channel[KeysChanged](8)

    @contextmanager
    def subscribe(self, *types: object, **_: object) -> Iterator[Any]:
        assert types == (KeysChanged,)
        yield self._receive

    async def call(self, request: GetKeys) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked.append(request.purpose)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def news(self) -> None:
        self._send.send_nowait(KeysChanged(generation=1))

    def learn(self) -> None:
        self.learnt += 1


def follow(story: Callable[[Bus, PairedKeys], Any]) -> None:
    async def main() -> None:
        bus, keys = Bus(), PairedKeys()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keys.follow, bus, bus.learn)
            await story(bus, keys)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_keys_are_learnt_when_somebody_gives_them_and_again_after_each_change() -> None:
    async def story(bus: Bus, keys: PairedKeys) -> None:
        await trio.sleep(0.5)
        assert (keys.passwords, keys.problem, bus.learnt) == ((), "", 0)
        bus.answer = (key("a"),)
        await trio.sleep(3)
        assert (keys.passwords, keys.hellos, bus.learnt) == ((b"a" * 32,), (b"a" * 32,), 1)
        assert bus.asked[-2:] == [PASSWORDS, HELLOS]
        asked = len(bus.asked)
        await trio.sleep(1000)
        assert len(bus.asked) == asked, "an answer stays true until there is news"
        bus.answer = (key("b"), key("a"))
        bus.news()
        await trio.sleep(0.5)
        assert (keys.hellos, bus.learnt) == ((b"b" * 32, b"a" * 32), 2)
        bus.news()
        await trio.sleep(0.5)
        assert bus.learnt == 2, "the same keys are no news"

    follow(story)


@pytest.mark.parametrize("error", [NoProvider("x"), ApplianceError("broken", hint="x"), ProviderFailed("broken")])
def test_what_is_known_is_kept_while_nobody_can_answer(error: Exception) -> None:
    async def story(bus: Bus, keys: PairedKeys) -> None:
        bus.answer = (key("a"),)
        bus.news()
        await trio.sleep(2)
        bus.answer = error
        bus.news()
        await trio.sleep(2)
        assert keys.passwords == (b"a" * 32,)
        assert keys.problem.partition("\n")[0] == ("" if isinstance(error, NoProvider) else "broken")

    follow(story)


def test_where_nobody_pairs_nodes_the_question_becomes_rare() -> None:
    async def story(bus: Bus, keys: PairedKeys) -> None:
        await trio.sleep(20 * RETRY_MAX_S)
        assert 20 < len(bus.asked) < 30
        assert keys == PairedKeys()

    follow(story)


def test_a_virtual_host_without_a_password_gets_one_of_its_own_from_the_first_key() -> None:
    keys = PairedKeys(passwords=(b"n" * 32, b"o" * 32))
    resolved = keys.resolve(carp(*VIPS, OPEN), {("lan", "open"): "remembered"})
    assert [each.password for each in resolved.vips[:2]] == [each.password for each in VIPS]
    assert resolved.vips[2].password == carp_password(b"n" * 32, b"lan 9")


def test_without_keys_the_remembered_password_is_used_and_without_that_the_host_is_left_out() -> None:
    settings = carp(*VIPS, OPEN)
    assert PairedKeys().resolve(settings, {("lan", "open"): "remembered"}).vips[2].password == "remembered"
    assert PairedKeys().resolve(settings, {}).vips == VIPS


@pytest.mark.parametrize("keys", [[key("a")] * (KEYS_MAX + 1), [key("a", 31)]])
def test_what_is_no_key_is_refused(keys: list[DerivedKey]) -> None:
    with pytest.raises(ApplianceError, match="usable"):
        usable(keys)
