"""The keys of hellos: which are spoken, which are understood, and for how long a former one still is.

Pure. A node that gets other keys goes on speaking under the former ones as well until every node that it knows has
spoken under the new one: then everybody understands that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from appliance_carp.hello import HelloKey

FORMER_MAX = 3
"""Former keys in use; one while another takes its place."""


class KeyChain:
    """The keys of one node."""

    def __init__(self, keys: Iterable[HelloKey] = (), former: Iterable[HelloKey] = ()) -> None:
        self._current = tuple(keys)
        self._former = tuple(each for each in former if each not in self._current)[:FORMER_MAX]

    @property
    def accepted(self) -> tuple[HelloKey, ...]:
        """What is understood, the preferred one first."""
        return (*self._current, *self._former)

    @property
    def spoken(self) -> tuple[HelloKey, ...]:
        """What hellos are sent under: the preferred key, and those that somebody may still need."""
        return (*self._current[:1], *self._former)

    def take(self, keys: Sequence[HelloKey], *, keep: bool) -> None:
        """Prefer the first of these, understand all; `keep` the others because somebody may need them."""
        others = [each for each in self.accepted if each not in keys]
        self._current = tuple(keys)
        self._former = tuple(others)[:FORMER_MAX] if keep or not keys else ()

    def forget(self, nodes: Collection[str], prefers: Callable[[str], bool]) -> bool:
        """Give up former keys when all these nodes have spoken under the preferred one; whether there were any."""
        if not self._former or not self._current or not all(map(prefers, nodes)):
            return False
        self._former = ()
        return True
