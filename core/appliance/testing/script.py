"""A test of a sans-IO machine as a transcript: what goes in, what must come out, at which time.

::

    with Script(machine.start(0.0)) as script:
        script >> []
        script.feed(machine.tick(3.0)) >> [BecameMaster(vhid=1), SendAdvert(vhid=1)]

Written after mitmproxy's playbooks: a mismatch shows everything asserted so far, and output that nobody
looked at is a failure, so a test cannot forget an effect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import TracebackType


class Script:
    """Collects effects and compares them in order."""

    def __init__(self, effects: Iterable[object] = ()) -> None:
        self._pending: list[object] = list(effects)
        self._asserted: list[str] = []

    def feed(self, effects: Iterable[object]) -> Script:
        """Add what the machine answered to one input."""
        self._pending += effects
        return self

    def __rshift__(self, expected: Iterable[object]) -> Script:
        """Assert that exactly these effects are pending, and take them."""
        wanted, got = list(expected), self._pending
        if wanted != got:
            raise AssertionError(self._difference(wanted, got))
        self._asserted += [f"  {effect!r}" for effect in wanted] or ["  (nothing)"]
        self._pending = []
        return self

    def ignore(self, *kinds: type) -> Script:
        """Forget pending effects of these types, such as notes for the log."""
        self._pending = [effect for effect in self._pending if not isinstance(effect, kinds)]
        return self

    def __enter__(self) -> Script:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None and self._pending:
            raise AssertionError(f"effects that nobody asserted: {self._pending!r}")

    def _difference(self, wanted: list[object], got: list[object]) -> str:
        lines = difflib.ndiff([repr(item) for item in wanted], [repr(item) for item in got])
        head = "\n".join(["asserted until here:", *self._asserted]) if self._asserted else "at the first assertion:"
        return f"{head}\nthen (- expected, + got):\n" + "\n".join(lines)
