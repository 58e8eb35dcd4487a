"""What a node's kernel needs before connections of another node can live in it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_SYSCTLS = Path("/proc/sys/net/netfilter")
_HASH_SIZE = Path("/sys/module/nf_conntrack/parameters/hashsize")
_WANTED = {
    "nf_conntrack_tcp_be_liberal": (1, "connections taken over are cut off when their windows look wrong"),
    "nf_conntrack_tcp_loose": (1, "a connection that is unknown here when it is taken over is cut off"),
    "nf_conntrack_events": (1, "connections made while nobody listens never report their changes and their end"),
}
"""By default (2) the kernel prepares only those entries for events that are made while somebody listens."""


def count() -> int:
    """Entries in the table of this network namespace; 0 when there is no connection tracking."""
    return _read(_SYSCTLS / "nf_conntrack_count")


def limit() -> int:
    """How many entries it may hold; 0 when there is no connection tracking."""
    return _read(_SYSCTLS / "nf_conntrack_max")


def _read(path: Path) -> int:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return 0


def prepare_node(max_states: int | None) -> list[str]:
    """Set what taking connections over needs, in the network namespace of the calling thread.

    Args:
        max_states: Entries the table must be able to hold, or ``None`` to leave its limit alone. The limit is the
            whole machine's: it can only be changed from the initial network namespace.

    Returns:
        One sentence for everything that could not be set; none when all is as it should be.
    """
    troubles = [_ensure(name, value, effect) for name, (value, effect) in _WANTED.items()]
    if max_states is not None:
        troubles += [_hold(max_states), _spread(max_states)]
    return [trouble for trouble in troubles if trouble]


def _ensure(name: str, value: int, effect: str) -> str:
    path = _SYSCTLS / name
    if _read(path) == value:
        return ""
    why = _write(path, value)
    return f"net.netfilter.{name} could not be set to {value} ({why}): {effect}." if why else ""


def _hold(max_states: int) -> str:
    if limit() == max_states:
        return ""
    why = _write(_SYSCTLS / "nf_conntrack_max", max_states)
    if not why:
        return ""
    return f"net.netfilter.nf_conntrack_max could not be set to {max_states} ({why}): it stays {limit()}."


def _spread(max_states: int) -> str:
    """Give the hash table a place for each entry, as the kernel does by itself; never fewer than it has."""
    size = _read(_SYSCTLS / "nf_conntrack_buckets")
    if size >= max_states:
        return ""
    why = _write(_HASH_SIZE, max_states)
    # Elsewhere than in the initial namespace this is not ours to set, and whoever runs the machine has been told.
    if not why or why == os.strerror(errno.EOPNOTSUPP):
        return ""
    return f"The hash table of conntrack stays at {size} places for {max_states} states ({why}): lookups take longer."


def _write(path: Path, value: int) -> str:
    """Why it could not be written; nothing when it could."""
    try:
        # Unbuffered and at once, so that the kernel's refusal comes here.
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""
