"""The service ``console``: makes accounts, listens at every place, and knows who is in."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.events import Request, Status
from appliance.plugin import Context, Started
from appliance_ssh import daemon, report
from appliance_ssh.accounts import Installed, Places, install
from appliance_ssh.events import EndSession, GetSsh, LoginRefused, SessionClosed, SessionOpened
from appliance_ssh.server import Session, SshServer
from appliance_ssh.settings import Account, Place, Settings

SESSIONS_MAX = 32
"""On this node. Each is three processes and a client of the control socket, which takes 64."""
TOLD_MAX, TOLD_S = 10, 60.0
"""Refused logins that are told in so many seconds: a port that is open is tried day and night."""
LOOK_S = 1.0
"""Between looks whether an address has come or gone, for the status."""


async def run(ctx: Context, task_status: Started) -> None:
    """Serve until told to stop; every session ends with it."""
    settings = ctx.config
    assert isinstance(settings, Settings)
    async with trio.open_nursery() as nursery:
        keeper = Keeper(ctx, nursery, Places(shell=daemon.find_shell()))
        daemon.find(daemon.PROGRAM)
        with (
            ctx.serve(GetSsh, keeper.get),
            ctx.serve(EndSession, keeper.end),
            ctx.on_reload(keeper.reload),
        ):
            await keeper.adopt(settings)
            nursery.start_soon(keeper.watch)
            task_status.started()
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


class Keeper:
    """Everything the service has."""

    def __init__(self, ctx: Context, nursery: trio.Nursery, places: Places) -> None:
        self._ctx, self._nursery, self._places = ctx, nursery, places
        self._servers: dict[Place, SshServer] = {}
        self._scopes: dict[Place, trio.CancelScope] = {}
        self._numbers = itertools.count(1)
        self._untold, self._told_from, self._told = 0, float("-inf"), 0
        self._status: Status | None = None
        self.settings = Settings()
        self.installed = Installed()
        self.sessions: dict[int, Session] = {}
        self.host_key = ""
        """Fingerprint."""
        self._logins = ctx.metrics.counter("logins", "Sessions that were opened")
        self._refusals = ctx.metrics.counter("logins_refused", "Connections that tried to log in and did not")
        self._count = ctx.metrics.gauge("sessions", "Sessions that are open")
        self._count.set(0)

    @property
    def servers(self) -> list[SshServer]:
        """In the order of the file."""
        return [self._servers[place] for place in self.settings.places if place in self._servers]

    # ------------------------------------------------------------------------------------ configuration

    async def reload(self, config: object) -> None:
        """Apply the difference: whoever may still be in is not disturbed."""
        assert isinstance(config, Settings)
        await self.adopt(config)

    async def adopt(self, settings: Settings) -> None:
        """Take over a configuration.

        Raises:
            ApplianceError: sshd cannot be run, or files cannot be written.
        """
        try:
            prepare = functools.partial(daemon.prepare, self._places, self._ctx.state_dir, settings.idle_s)
            self.host_key = await trio.to_thread.run_sync(prepare)
            self.installed = await trio.to_thread.run_sync(install, settings.accounts, self._places)
        except OSError as error:
            raise ApplianceError(
                f"cannot write {error.filename}: {error.strerror}", hint="Run the node as root, on a disk with room."
            ) from None
        self.settings = settings
        keys = {each.name: fingerprints(each) for each in self.installed.usable}
        for session in list(self.sessions.values()):
            if session.key not in keys.get(session.user, ()):
                session.end()
        for place in self._servers.keys() - set(settings.places):
            del self._servers[place]
            self._scopes.pop(place).cancel(reason="nobody is to log in there any more")
        for place in settings.places:
            if place not in self._servers:
                await self._open(place)
        self._tell()

    async def _open(self, place: Place) -> None:
        server, scope = SshServer(place, self, self._numbers, self._ctx.log), trio.CancelScope()

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await server.run(task_status=task_status)

        await self._nursery.start(serve)
        self._servers[place], self._scopes[place] = server, scope

    # ------------------------------------------------------------------------------------ news of servers

    def argv(self) -> list[str]:
        """How sshd is started."""
        return daemon.argv(self._places)

    def opened(self, session: Session) -> bool:
        """Somebody came in; whether it may stay."""
        # Between sshd's look at the keys and this line they may have changed.
        account = next((each for each in self.installed.usable if each.name == session.user), None)
        if len(self.sessions) >= SESSIONS_MAX or account is None or session.key not in fingerprints(account):
            self._ctx.log.warning("session_refused", user=session.user, source=session.source)
            return False
        self.sessions[session.number] = session
        self._logins.inc()
        self._count.set(len(self.sessions))
        self._ctx.log.info("session_opened", user=session.user, source=session.source, key=session.key)
        self._ctx.publish(
            SessionOpened(user=session.user, source=session.source, interface=session.interface, key=session.key)
        )
        return True

    def closed(self, session: Session) -> None:
        """A session is over."""
        if self.sessions.pop(session.number, None) is None:
            return
        self._count.set(len(self.sessions))
        lasted_s = round(trio.current_time() - session.since, 1)
        self._ctx.log.info("session_closed", user=session.user, source=session.source, lasted_s=lasted_s)
        self._ctx.publish(SessionClosed(user=session.user, source=session.source, lasted_s=lasted_s))

    def refused(self, user: str, source: str, interface: str) -> None:
        """Somebody did not get in."""
        self._refusals.inc()
        now = trio.current_time()
        if now - self._told_from >= TOLD_S:
            self._told_from, self._told = now, 0
        if self._told >= TOLD_MAX:
            self._untold += 1
            return
        self._told += 1
        self._ctx.log.warning("login_refused", user=user, source=source, unreported=self._untold)
        self._ctx.publish(LoginRefused(user=user, source=source, interface=interface, unreported=self._untold))
        self._untold = 0

    # ------------------------------------------------------------------------------------ answers

    async def watch(self) -> None:
        """Tell when an address has come or gone."""
        while True:
            await trio.sleep(LOOK_S)
            self._tell()

    def _tell(self) -> None:
        status = report.status(self)
        if status != self._status:
            self._status = status
            self._ctx.publish(status)

    async def get(self, _: Request[dict[str, Any]]) -> dict[str, Any]:
        """`GetSsh`."""
        return report.document(self, trio.current_time())

    async def end(self, request: Request[str]) -> str:
        """`EndSession`."""
        assert isinstance(request, EndSession)
        session = self.sessions.get(request.number)
        if session is None:
            raise RefusedError(f"there is no session {request.number}", hint="`appliance show ssh` lists them.")
        session.end()
        return f"session {session.number} of {session.user} from {session.source} ended"


def fingerprints(account: Account) -> tuple[str, ...]:
    """Of the keys of an account."""
    return tuple(daemon.fingerprint(key) for key in account.keys)
