"""Kea's control socket: one JSON command, one JSON answer, one connection each (Kea's manual, "Management API")."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance_dhcp_failover.kea import CONTROL_SOCKET

ANSWER_MAX = 16 * 1024 * 1024
"""Bytes. A page of a thousand leases has some 300 000."""
ANSWER_S = 5.0
"""Kea answers in milliseconds, and reads a large lease file again at a change of its configuration."""
CONNECTIONS = 4
"""At a time: Kea works on one command after the other anyway."""
OK, EMPTY = 0, 3
"""Results: done, and nothing found."""


class KeaError(ApplianceError):
    """Kea refused a command, or does not answer."""


class KeaRefusalError(KeaError):
    """Kea has understood a command and refused it: the same one will be refused again."""


class Control:
    """The control socket of one Kea.

    Args:
        directory: Where Kea runs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._turns = trio.CapacityLimiter(CONNECTIONS)

    async def command(
        self, name: str, arguments: Mapping[str, object] | None = None, *, within_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """Run a command and return its arguments; empty when nothing was found.

        Raises:
            KeaError: Kea said no, does not run, or was silent for `within_s` seconds.
        """
        asked: dict[str, object] = {"command": name}
        if arguments is not None:
            asked["arguments"] = arguments
        async with self._turns:
            try:
                with trio.fail_after(within_s):
                    answer = _decoded(name, await self._exchange(json.dumps(asked).encode()))
            except trio.TooSlowError:
                raise KeaError(f"Kea has not answered {name} in {within_s:g} s", hint=_RESTARTS) from None
            except OSError as error:
                raise KeaError(f"Kea does not run: {error.strerror}", hint=_RESTARTS) from None
        result, text = answer.get("result"), str(answer.get("text", ""))
        if result not in (OK, EMPTY):
            hint = "Correct what it names; nothing was changed."
            raise KeaRefusalError(f"Kea refused {name}: {text[:300]}", hint=hint)
        found = answer.get("arguments", {})
        return found if isinstance(found, dict) else {}

    async def _exchange(self, asked: bytes) -> bytes:
        # By way of a descriptor: a socket's path has at most 107 bytes, a state directory's may have more.
        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            with trio.socket.from_stdlib_socket(stream) as kea:
                await kea.connect(f"/proc/self/fd/{directory}/{CONTROL_SOCKET}")
                sent = 0
                while sent < len(asked):
                    sent += await kea.send(asked[sent:])
                return await _read(kea)
        finally:
            os.close(directory)


async def _read(kea: trio.socket.SocketType) -> bytes:
    parts, size = [], 0
    while part := await kea.recv(65536):
        parts.append(part)
        size += len(part)
        if size > ANSWER_MAX:
            raise KeaError(f"Kea's answer is larger than {ANSWER_MAX} bytes", hint="Report this as a defect.")
    return b"".join(parts)


def _decoded(name: str, raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise KeaError(f"Kea's answer to {name} is no JSON object", hint=_RESTARTS)
    return answer


_RESTARTS = "It is restarted by itself; 'appliance show dhcp' says whether it runs, 'appliance show log' why not."
