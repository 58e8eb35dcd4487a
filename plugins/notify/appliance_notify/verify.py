"""What ``[notify]`` must satisfy beyond the types of its keys. Pure; each path names the offending key."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import Config
from appliance.errors import Problem
from appliance_notify.config import MailTable, NotifyConfig, SyslogTable

TABLE = "notify"
SORTS = ("webhook", "mail", "syslog")


def verify(config: Config) -> list[Problem]:
    """Every problem of the table."""
    table = config[NotifyConfig]
    problems = [*_names(table)]
    for name, mail in table.mail.items():
        problems += _mail((TABLE, "mail", name), mail)
    for name, syslog in table.syslog.items():
        problems += _syslog((TABLE, "syslog", name), syslog)
    for name, webhook in table.webhook.items():
        if webhook.url.get_secret_value().startswith("http:"):
            path = (TABLE, "webhook", name, "url")
            message = "whoever is on the way can read what is sent: https is needed for more than a trusted network"
            problems.append(Problem(path=path, message=message, severity="warning"))
    return problems


def _names(table: NotifyConfig) -> Iterator[Problem]:
    """Commands and alarms name a target by its name alone."""
    places: dict[str, tuple[str, ...]] = {}
    for sort in SORTS:
        for name in getattr(table, sort):
            place = (TABLE, sort, name)
            if name in places:
                message = f"the name {name} is used twice: each target needs a name of its own"
                yield Problem(path=place, message=message, also=(places[name],))
            places[name] = place


def _mail(where: tuple[str, ...], table: MailTable) -> Iterator[Problem]:
    if table.username is not None and table.password is None:
        yield Problem(path=(*where, "username"), message="a password is needed, too")
    if table.password is not None and table.username is None:
        yield Problem(path=(*where, "password"), message="a username is needed, too")
    if table.password is not None and table.security == "none":
        message = 'the password would travel readable: use security = "starttls" or "tls", or no password'
        yield Problem(path=(*where, "security"), message=message)


def _syslog(where: tuple[str, ...], table: SyslogTable) -> Iterator[Problem]:
    is_local = table.transport == "local"
    if not is_local and table.server is None:
        yield Problem(path=where, message=f"a server is needed with transport {table.transport}")
    if is_local:
        for key in ("server", "port"):
            if getattr(table, key) is not None:
                message = "the daemon of this machine has none: remove it, or choose another transport"
                yield Problem(path=(*where, key), message=message)
