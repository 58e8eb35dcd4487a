"""Keys from the pairing: learnt, renewed, withdrawn, and kept while nobody answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError
from appliance.events import DerivedKey, GetKeys, KeysChanged
from appliance.events.config import Hidden
from appliance.plugin.context import NoProvider, ProviderFailed
from appliance_pfsync.native.keys import KEYS_MAX
from appliance_pfsync.paired import ANSWER_S, RETRY_S, NoKeysError, PairedKeys

Keys = tuple[DerivedKey, ...]
Provider = Callable[[], Awaitable[Keys]]


def key(name: str) -> DerivedKey:
    return DerivedKey(id=name, key=Hidden(name.encode() * 32))


def having(*names: str) -> Provider:
    async def provide() -> Keys:
        return tuple(map(key, names))

    return provide


def raising(error: Exception) -> Provider:
    async def provide() -> Keys:
        raise error

    return provide


ABSENT = raising(NoProvider("nobody serves GetKeys"))


class Node:
    """The bus, as far as `PairedKeys` uses it."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.asked: list[GetKeys] = []
        self.learnt = 0
        self._send, self._receive = trio.open_memory_channel[KeysChanged](8)

    @contextmanager
    def subscribe(self, *types: object, **_: object) -> Iterator[Any]:
        assert types == (KeysChanged,)
        yield self._receive

    async def call(self, request: GetKeys) -> Keys:
        await trio.lowlevel.checkpoint()
        self.asked.append(request)
        return await self.provider()

    def note(self) -> None:
        self.learnt += 1

    async def change(self, provider: Provider) -> None:
        """Other keys, and the news of it; returns when they have been asked for."""
        self.provider = provider
        self._send.send_nowait(KeysChanged(generation=len(self.asked)))
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def following(node: Node) -> AsyncIterator[PairedKeys]:
    keys = PairedKeys()
    async with trio.open_nursery() as nursery:
        await nursery.start(keys.follow, node, node.note)
        yield keys
        nursery.cancel_scope.cancel()


def in_virtual_time(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await body()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def names(keys: PairedKeys) -> list[str] | None:
    keyring = keys.read_if_changed()
    return None if keyring is None else [each.name for each in keyring.keys]


def test_before_anybody_was_asked_there_are_no_keys() -> None:
    with pytest.raises(NoKeysError, match="nobody has given keys"):
        PairedKeys().read_if_changed()


def test_keys_are_there_when_it_has_started_and_are_told_once_in_their_order() -> None:
    async def body() -> None:
        node = Node(having("b", "a"))
        async with following(node) as keys:
            assert names(keys) == ["b", "a"]
            assert names(keys) is None
            assert node.asked == [GetKeys(purpose="pfsync")]
            assert node.learnt == 1

    in_virtual_time(body)


def test_the_secret_of_a_key_is_the_derived_one() -> None:
    keys = PairedKeys()
    keys.learn((key("a"),))
    keyring = keys.read_if_changed()
    assert keyring is not None
    assert keyring.keys[0].secret == b"a" * 32
    assert "aaaa" not in repr(keyring)


def test_every_step_of_a_rotation_is_told_and_equal_keys_are_not() -> None:
    async def body() -> None:
        node = Node(having("a"))
        async with following(node) as keys:
            told = [names(keys)]
            for step in (["a", "b"], ["a", "b"], ["b", "a"], ["b"]):
                await node.change(having(*step))
                told.append(names(keys))
            assert told == [["a"], ["a", "b"], None, ["b", "a"], ["b"]]
            assert node.learnt == 5

    in_virtual_time(body)


def test_a_node_that_is_not_paired_is_told_how_to_be_and_goes_on_when_it_is() -> None:
    async def body() -> None:
        node = Node(having())
        async with following(node) as keys:
            with pytest.raises(NoKeysError, match="this node is not paired") as alone:
                keys.read_if_changed()
            assert "appliance pair ADDRESS" in alone.value.hint
            assert "key_file" in alone.value.message
            await trio.sleep(100 * RETRY_S)
            assert len(node.asked) == 1, "it is told when that changes"
            await node.change(having("a"))
            assert names(keys) == ["a"]

    in_virtual_time(body)


def test_withdrawn_keys_are_no_keys_and_the_same_ones_count_when_they_return() -> None:
    async def body() -> None:
        node = Node(having("a"))
        async with following(node) as keys:
            assert names(keys) == ["a"]
            await node.change(having())
            for _ in range(2):
                with pytest.raises(NoKeysError, match="not paired"):
                    keys.read_if_changed()
            await node.change(having("a"))
            assert names(keys) == ["a"]

    in_virtual_time(body)


def test_without_a_service_that_pairs_it_says_so_and_asks_again() -> None:
    async def body() -> None:
        node = Node(ABSENT)
        async with following(node) as keys:
            with pytest.raises(NoKeysError, match="does not answer") as absent:
                keys.read_if_changed()
            assert "appliance pair" in absent.value.hint
            node.provider = having("a")
            await trio.sleep(1.5 * RETRY_S)
            assert names(keys) == ["a"]

    in_virtual_time(body)


def test_a_service_that_does_not_answer_in_time_is_asked_again() -> None:
    async def body() -> None:
        async def never() -> Keys:
            await trio.sleep_forever()
            raise AssertionError

        node = Node(never)
        begun = trio.current_time()
        async with following(node) as keys:
            assert trio.current_time() - begun == pytest.approx(ANSWER_S)
            with pytest.raises(NoKeysError, match="does not answer"):
                keys.read_if_changed()
            node.provider = having("a")
            await trio.sleep(1.5 * RETRY_S)
            assert names(keys) == ["a"]

    in_virtual_time(body)


def test_keys_stay_in_force_while_their_service_is_away() -> None:
    async def body() -> None:
        node = Node(having("a"))
        async with following(node) as keys:
            assert names(keys) == ["a"]
            await node.change(ABSENT)
            assert names(keys) is None
            node.provider = having("b", "a")
            await trio.sleep(1.5 * RETRY_S)
            assert names(keys) == ["b", "a"]

    in_virtual_time(body)


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (ApplianceError("own.key is missing", hint="Restore it."), "cannot be had: own.key is missing", "Restore it."),
        (ProviderFailed("KeyError"), "cannot be had: KeyError", "appliance pair"),
    ],
)
def test_a_pairing_that_cannot_be_read_is_told_and_withdraws_nothing(error: Exception, said: str, hint: str) -> None:
    async def body() -> None:
        node = Node(having("a"))
        async with following(node) as keys:
            assert names(keys) == ["a"]
            await node.change(raising(error))
            with pytest.raises(ApplianceError, match=said) as told:
                keys.read_if_changed()
            assert not isinstance(told.value, NoKeysError)
            assert hint in told.value.hint
            node.provider = having("a")
            await trio.sleep(1.5 * RETRY_S)
            assert names(keys) is None, "they are still the same, and in force"

    in_virtual_time(body)


@pytest.mark.parametrize(
    "wrong", [tuple(key(str(number)) for number in range(KEYS_MAX + 1)), (DerivedKey(id="a", key=Hidden(b"short")),)]
)
def test_keys_that_cannot_be_used_are_refused(wrong: Keys) -> None:
    keys = PairedKeys()
    with pytest.raises(ApplianceError, match="at most 4 of at least 32 bytes are usable") as refused:
        keys.learn(wrong)
    assert "same version" in refused.value.hint
    with pytest.raises(NoKeysError):
        keys.read_if_changed()
