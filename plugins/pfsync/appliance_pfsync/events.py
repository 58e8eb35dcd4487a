"""Requests that the pfsync service answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class GetPfsync(Request[dict[str, Any]]):
    """What `show pfsync --json` prints; see `docs/cli.md` for its shape."""


@request
class ResyncStates(Request[str]):
    """Ask every peer for all of its states; answers with a sentence for people."""


@request
class FlushStates(Request[str]):
    """Remove every replicated state here and on the peers; answers with a sentence for people."""


@request
class GetStates(Request[dict[str, Any]]):
    """What `show states --json` prints."""

    words: tuple[str, ...]
    """The filter, see `appliance_pfsync.states`."""
    limit: int


@request
class CountStates(Request[dict[str, Any]]):
    """What `states count --json` prints."""


@request
class KillStates(Request[str]):
    """Remove the matching states here and on the peers; answers with a sentence for people."""

    words: tuple[str, ...]
