"""What happens to a node's processes and to its power."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from appliance.errors import RefusedError, UsageError
from appliance.lab import netns
from appliance.lab.plan import Software
from appliance.net.fastpath import Netlink, link_down

if TYPE_CHECKING:
    from appliance.lab.lab import Lab

STOP_DEADLINE_S = 15.0
"""More than what init grants the node's software."""
POLL_S = 0.01
REALTIME_PRIORITY = 90
"""Above everything that runs on a node, for less than a millisecond."""


def kill(lab: Lab, node: str, what: str) -> tuple[int, ...]:
    """SIGKILL to the main process, to all processes but init, or to those whose title contains a word."""
    init, main = _init_and_main(lab, node)
    others = [pid for pid in netns.pids(lab.topology.namespace(node)) if pid not in (init, main)]
    if what == "main":
        chosen = [main]
    elif what == "all":
        _end_at_once([*others, main])
        return (*others, main)
    else:
        chosen = [pid for pid in others if what in netns.title(pid)]
        if not chosen:
            running = ", ".join(netns.title(pid) for pid in others)
            raise UsageError(f"no process of {node} is called {what!r}", hint=f"It has: {running or 'no children'}.")
    netns.send_signal(chosen, signal.SIGKILL)
    return tuple(chosen)


def freeze(lab: Lab, node: str) -> None:
    """SIGSTOP to everything."""
    netns.send_signal(_all(lab, node), signal.SIGSTOP)


def thaw(lab: Lab, node: str) -> None:
    """SIGCONT to everything."""
    netns.send_signal(_all(lab, node), signal.SIGCONT)


def _end_at_once(targets: Sequence[int]) -> None:
    """Ends processes so that none of them sees another one die.

    Each has real-time priority and may run in the middle of a series of kills: a guard would speak its
    last words. Stopped processes do nothing; children are stopped before their parents.
    """
    netns.send_signal(sorted(targets, reverse=True), signal.SIGSTOP)
    netns.send_signal(targets, signal.SIGKILL)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keeps a busy machine from stretching a power failure over time."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


class _Cables:
    """All links of a node, ready to be cut within a millisecond even on a busy machine."""

    def __init__(self, lab: Lab, node: str) -> None:
        topology, cables = lab.topology, lab.topology.cables_of(node)
        self._stack = ExitStack()
        self._batches = [(self._open(topology.namespace(node)), [link_down(cable.index) for cable in cables])]
        for cable in cables:
            if topology.is_direct(cable.network):
                far = [o.port_index for o in topology.cables if o.switch == cable.switch and o is not cable]
                socket = self._open(topology.namespace(cable.switch))
                self._batches.append((socket, [link_down(index) for index in far]))

    def _open(self, namespace: str) -> Netlink:
        return self._stack.enter_context(netns.inside(namespace, Netlink))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def cut(self) -> None:
        """Takes them down."""
        for socket, messages in self._batches:
            socket.batch(messages)


def off(lab: Lab, node: str) -> None:
    """Takes the power away.

    First every process, all at once, because software that saw one cable go could still speak on
    another; then all links and the far end of a direct cable, with sockets that were opened before;
    then what is left of the machine.
    """
    lab.topology.ordinal(node)
    if not lab.has_power(node):
        raise RefusedError(f"{node} has no power", hint=f"appliance lab power-on {node}")
    namespace = lab.topology.namespace(node)
    cables = lab.topology.cables_of(node)
    running = netns.pids(namespace)
    with _Cables(lab, node) as links, _undisturbed():
        _end_at_once(running)
        links.cut()
    netns.kill_all(namespace)
    for cable in cables:
        netns.batch("ip", lab.topology.namespace(cable.switch), [f"link del {cable.port}"])
    netns.delete([namespace])
    lab.socket(node).unlink(missing_ok=True)


def stop(lab: Lab, node: str) -> None:
    """An orderly stop, as ``systemctl stop`` does it."""
    init, _ = _init_and_main(lab, node)
    netns.send_signal([init], signal.SIGUSR2)
    _wait_state(lab, node, {"stopped", "failed"})


def start(lab: Lab, node: str) -> None:
    """Starts the software again."""
    init = lab.init_facts(node).get("init")
    if not isinstance(init, int):
        raise RefusedError(f"{node} runs no software", hint="Build the lab with the appliance's software.")
    netns.send_signal([init], signal.SIGUSR1)
    _wait_state(lab, node, {"running"})


def _wait_state(lab: Lab, node: str, wanted: set[str]) -> None:
    deadline = time.monotonic() + STOP_DEADLINE_S
    while lab.init_facts(node).get("state") not in wanted:
        if time.monotonic() > deadline:
            raise RefusedError(
                f"{node} is {lab.init_facts(node).get('state')}, not {' or '.join(sorted(wanted))}",
                hint=f"See {lab.log(node)}",
            )
        time.sleep(POLL_S)


def _init_and_main(lab: Lab, node: str) -> tuple[int, int]:
    lab.topology.ordinal(node)
    if lab.software is not Software.APPLIANCE:
        raise RefusedError(f"{node} runs no software", hint="Build the lab with the appliance's software.")
    facts = lab.init_facts(node)
    init, main = facts.get("init"), facts.get("pid")
    if not isinstance(init, int) or not isinstance(main, int):
        raise RefusedError(
            f"the software of {node} is not running ({facts.get('state', 'no init')})", hint=f"See {lab.log(node)}"
        )
    return init, main


def _all(lab: Lab, node: str) -> tuple[int, ...]:
    lab.topology.ordinal(node)
    return netns.pids(lab.topology.namespace(node))
