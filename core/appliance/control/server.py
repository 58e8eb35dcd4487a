"""The control socket of a node: who may connect, one task per client, everything bounded.

The socket is for root, for the user the node runs as, and for members of the group ``appliance``. The mode
keeps others out; SO_PEERCRED is checked as well, because a socket can be moved or its mode changed. What a
member of the group may do is in `appliance.control.access`.
"""

from __future__ import annotations

import errno
import functools
import grp
import os
import pwd
import socket as stdlib_socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

import trio

from appliance import logs
from appliance.control import wire
from appliance.control.access import Caller
from appliance.control.context import ApplianceView
from appliance.control.dispatch import Dispatcher, Send
from appliance.errors import ApplianceError

GROUP = "appliance"
CLIENTS_MAX = 64
"""People, a few dashboards and monitors; each may follow events for hours."""
REQUEST_TIME_S = 5.0
"""For a client to send its request, which it has ready when it connects."""
SEND_TIME_S = 300.0
"""For a client to read on; a pager may wait for a person, but not for ever."""
PROBE_TIME_S = 1.0
"""For the node that may be behind an existing socket to accept a connection."""
BACKLOG = 16
ACCEPT_PAUSE_S = 0.1
"""After running out of file descriptors, before accepting again."""
READ_SIZE = 16 * 1024
CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))."""


async def serve_control(
    path: Path, appliance: ApplianceView, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the control socket until cancelled; remove it on the way out.

    Raises:
        ApplianceError: A live node answers there, or the socket cannot be made.
    """
    await _clear_the_way(path)
    dispatcher = Dispatcher(appliance)
    listener, identity = _listen(path)
    slots = trio.Semaphore(CLIENTS_MAX)
    try:
        with listener:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    client = await _accept(listener)
                    nursery.start_soon(_serve_client, client, appliance.node.name, dispatcher, slots)
    finally:
        _remove(path, identity)


async def _clear_the_way(path: Path) -> None:
    """Remove the socket of a dead node; refuse to take one from a live node."""
    if not _socket_exists(path):
        return
    if await _somebody_answers(path):
        raise ApplianceError(
            f"a node is already running on {path}",
            hint="Stop it first (`systemctl stop appliance`), or choose another path with --socket.",
        )
    with suppress(FileNotFoundError):
        os.unlink(path)


def _socket_exists(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(path, error) from None
    if not stat.S_ISSOCK(found.st_mode):
        raise ApplianceError(
            f"{path} exists and is not a socket", hint="Remove it, or choose another path with --socket."
        )
    return True


async def _somebody_answers(path: Path) -> bool:
    with trio.socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM) as probe:
        with trio.move_on_after(PROBE_TIME_S):
            try:
                await probe.connect(str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except OSError as error:
                # EAGAIN: the backlog is full, so the process lives (perhaps stopped).
                if error.errno == errno.EAGAIN:
                    return True
                raise _unusable(path, error) from None
        return True


def _listen(path: Path) -> tuple[trio.socket.SocketType, tuple[int, int]]:
    listener = stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM)
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o755)  # whatever the umask: who may connect is the socket's affair
        listener.bind(str(path))
        # Nobody can connect before listen(): the mode is in place by then.
        path.chmod(0o660)
        group = _group()
        if group is not None and os.geteuid() == 0:
            os.chown(path, -1, group.gr_gid)
        listener.listen(BACKLOG)
        made = path.lstat()
    except OSError as error:
        listener.close()
        raise _unusable(path, error) from None
    return trio.socket.from_stdlib_socket(listener), (made.st_dev, made.st_ino)


def _unusable(path: Path, error: OSError) -> ApplianceError:
    if isinstance(error, PermissionError):
        return ApplianceError(
            f"not allowed to make the control socket {path}",
            hint="Run as root, or choose a path of your own with --socket.",
        )
    return ApplianceError(
        f"cannot make the control socket {path}: {error.strerror or error}",
        hint="Choose another path with --socket; at most 107 bytes, in a directory that can be written.",
    )


def _remove(path: Path, identity: tuple[int, int]) -> None:
    """Remove our socket, but not the one of a node that has replaced us meanwhile."""
    try:
        found = path.lstat()
        if (found.st_dev, found.st_ino) == identity:
            path.unlink()
    except OSError:
        # Already gone, or its directory is: the goal is reached either way.
        return


async def _accept(listener: trio.socket.SocketType) -> trio.socket.SocketType:
    while True:
        try:
            client, _ = await listener.accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED):
                raise
            await trio.sleep(ACCEPT_PAUSE_S)
        else:
            return client


async def _serve_client(
    client: trio.socket.SocketType, node: str, dispatcher: Dispatcher, slots: trio.Semaphore
) -> None:
    async with trio.SocketStream(client) as stream, trio.open_nursery() as nursery:
        send = functools.partial(_send, stream, nursery.cancel_scope)
        try:
            slots.acquire_nowait()
        except trio.WouldBlock:
            await send(_failure(f"{CLIENTS_MAX} clients are connected already", "Close some, then try again."))
            return
        try:
            caller = await _caller(client)
            if isinstance(caller, wire.Failure):
                await send(caller)
                return
            refusal = await dispatcher.refusal(caller)
            if refusal is not None:
                await send(refusal)
                return
            await send(wire.Greeting(node=node))
            request = await _request(stream, send)
            if request is not None:
                nursery.start_soon(_cancel_when_gone, stream, nursery.cancel_scope)
                await dispatcher.answer(request, send, caller)
            nursery.cancel_scope.cancel(reason="the command is done")
        finally:
            slots.release()


async def _send(stream: trio.SocketStream, scope: trio.CancelScope, reply: wire.Reply) -> None:
    line = wire.encode_reply(reply)
    with trio.move_on_after(SEND_TIME_S) as patience:
        try:
            await stream.send_all(line)
        except trio.BrokenResourceError:
            patience.cancel(reason="the client has gone away")
            await trio.lowlevel.checkpoint()
    if patience.cancelled_caught:
        scope.cancel(reason="the client does not listen any more")
        await trio.lowlevel.checkpoint()


async def _request(stream: trio.SocketStream, send: Send) -> wire.Request | None:
    lines = wire.LineSplitter(wire.REQUEST_LINE_MAX)
    try:
        with trio.fail_after(REQUEST_TIME_S):
            while received := await stream.receive_some(READ_SIZE):
                for line in lines.feed(received):
                    return wire.decode_request(line)
    except trio.TooSlowError:
        await send(_failure(f"no request came within {REQUEST_TIME_S:g} seconds", "Send one line of JSON."))
    except wire.WireError as error:
        await send(_failure(error.message, error.hint))
    except trio.BrokenResourceError:
        return None
    return None


async def _cancel_when_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    try:
        while await stream.receive_some(READ_SIZE):
            pass
    except trio.BrokenResourceError:
        pass
    scope.cancel(reason="the client has gone away")


async def _caller(client: trio.socket.SocketType) -> Caller | wire.Failure:
    """Who this is, or why it may not connect."""
    raw = client.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, gid = CREDENTIALS.unpack(raw)
    if uid == 0:
        return Caller(name="root", trusted=True)  # it gets in whatever becomes of the look-ups below
    # Users and groups may come over the network (NSS): not in the loop of the node.
    name = await trio.to_thread.run_sync(_login_name, uid)
    if uid == os.geteuid():
        return Caller(name=name, trusted=True)
    if await trio.to_thread.run_sync(_is_member, uid, gid):
        return Caller(name=name)
    logs.logger(part="control").warning("client_refused", uid=uid)
    return _failure(f"user {uid} may not control this node", f"Use root, or join the group `{GROUP}`.")


def _login_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"  # no name of a user can have a space


def _is_member(uid: int, gid: int) -> bool:
    group = _group()
    if group is None:
        return False
    if gid == group.gr_gid:
        return True
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    return user.pw_gid == group.gr_gid or user.pw_name in group.gr_mem


def _group() -> grp.struct_group | None:
    try:
        return grp.getgrnam(GROUP)
    except KeyError:
        return None


def _failure(message: str, hint: str) -> wire.Failure:
    return wire.Failure(message=message, hint=hint, exit=1)
