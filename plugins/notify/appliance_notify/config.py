"""The pydantic models of ``[notify]`` and their translation into the service's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from appliance.config import Config, Model, ProvidesInterfaces, ProvidesVirtualHosts
from appliance.config.types import Port, Secret
from appliance_notify.settings import Mail, Settings, Syslog, Target, Wanted, Webhook
from appliance_notify.vocabulary import Severity

TARGETS_MAX = 8
"""Of each sort."""
RECIPIENTS_MAX = 10
TargetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:_-]{0,251}[A-Za-z0-9])?$|^::1$")]
"""A name or an address."""
MailAddress = Annotated[str, Field(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}$")]
"""Without a display name and without quotes; ASCII."""
FilePath = Annotated[str, Field(pattern=r"^/[^\x00]{0,4000}$")]
ClassName = Literal["role", "peer", "gateway", "sync", "alarm", "config", "service", "node"]
_PORTS = {"starttls": 587, "tls": 465, "none": 25, "udp": 514, "tcp": 514, "local": 0}
_SYSLOG_TLS = 6514
"""RFC 5425 section 4.1."""


def _is_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("this is not a URL: the port or the address in it is wrong") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("a URL is needed that begins with https://HOST/ or http://HOST/")
    if parts.username is not None or parts.fragment:
        raise ValueError("a URL without user, password and fragment is needed; use secret to authenticate")
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > 2000:
        raise ValueError("a URL of at most 2000 printable ASCII characters is needed; write others as %XX")
    return value


class _TargetTable(Model):
    """What all targets have."""

    classes: Annotated[list[ClassName], Field(max_length=16)] = []
    """Classes of notices it gets; empty: all. The plugin's README says what is in each."""
    severity: Literal["info", "warning", "critical"] = "warning"
    """The least severe notices it gets."""
    per_minute: Annotated[int, Field(ge=1, le=60)] = 6
    """Messages a minute, and in one burst. What comes faster is collected in the next message."""

    def wanted(self) -> Wanted:
        """As the service has it."""
        return Wanted(
            classes=frozenset(self.classes), severity=Severity[self.severity.upper()], per_minute=self.per_minute
        )


class WebhookTable(_TargetTable):
    """``[notify.webhook.NAME]``: a POST of JSON."""

    url: Annotated[Secret, AfterValidator(_is_url)]
    """Where to; taken for a secret, because chat services put a password in it."""
    secret: Secret | None = None
    """Key of the HMAC-SHA256 in the header ``X-Appliance-Signature``, by which the receiver knows who sent it."""
    ca_file: FilePath | None = None
    """Certificates (PEM) that may have signed the server's; unset: those of the system."""


class MailTable(_TargetTable):
    """``[notify.mail.NAME]``: a mail."""

    server: HostName
    """Name or address of the mail server."""
    port: Port | None = None
    """Unset: 587 with ``starttls``, 465 with ``tls``, 25 with ``none``."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted."""
    username: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """User at the mail server."""
    password: Secret | None = None
    """Its password."""
    sender: MailAddress
    """Address in From."""
    recipients: Annotated[list[MailAddress], Field(min_length=1, max_length=RECIPIENTS_MAX)]
    """Who gets it."""
    ca_file: FilePath | None = None
    """Certificates (PEM) that may have signed the server's; unset: those of the system."""


class SyslogTable(_TargetTable):
    """``[notify.syslog.NAME]``: a line for each notice."""

    transport: Literal["udp", "tcp", "tls", "local"] = "udp"
    """How it travels; ``local`` is the daemon of this machine."""
    server: HostName | None = None
    """Name or address of the server; not with ``local``."""
    port: Port | None = None
    """Unset: 514, and 6514 with ``tls``."""
    path: FilePath = "/dev/log"
    """The socket of the daemon of this machine, with ``local``."""
    facility: Literal["daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"] = (
        "daemon"
    )
    """Facility of the lines."""
    ca_file: FilePath | None = None
    """Certificates (PEM) that may have signed the server's; unset: those of the system."""


class NotifyConfig(Model):
    """``[notify]``: who is told what happens."""

    webhook: Annotated[dict[TargetName, WebhookTable], Field(max_length=TARGETS_MAX)] = {}
    """HTTP servers by name."""
    mail: Annotated[dict[TargetName, MailTable], Field(max_length=TARGETS_MAX)] = {}
    """Mail servers by name."""
    syslog: Annotated[dict[TargetName, SyslogTable], Field(max_length=TARGETS_MAX)] = {}
    """Syslog servers by name."""

    def targets(self) -> Iterator[Target]:
        """All of them, as the service has them."""
        yield from (_webhook(name, table) for name, table in self.webhook.items())
        yield from (_mail(name, table) for name, table in self.mail.items())
        yield from (_syslog(name, table) for name, table in self.syslog.items())


def settings_of(config: Config) -> Settings:
    """The settings of the service of a verified configuration."""
    return Settings(targets=tuple(config[NotifyConfig].targets()), instead=instead_of_virtual(config))


def instead_of_virtual(config: Config) -> Mapping[str, tuple[str, ...]]:
    """For each virtual address, the own ones of its interface of the same family."""
    provider = config.providing(ProvidesInterfaces)
    interfaces = provider.logical_interfaces() if provider else {}
    found: dict[str, tuple[str, ...]] = {}
    for table in config.all_providing(ProvidesVirtualHosts):
        for host in table.virtual_hosts().values():
            own = interfaces[host.interface].addresses if host.interface in interfaces else ()
            for virtual in (*host.addresses, *host.aliases):
                found[str(virtual.ip)] = tuple(str(each.ip) for each in own if each.version == virtual.version)
    return found


def _webhook(name: str, table: WebhookTable) -> Webhook:
    parts = urlsplit(table.url.get_secret_value())
    tls = parts.scheme == "https"
    path = parts.path or "/"
    return Webhook(
        name=name,
        wanted=table.wanted(),
        host=parts.hostname or "",
        port=parts.port or (443 if tls else 80),
        tls=tls,
        path=f"{path}?{parts.query}" if parts.query else path,
        secret=table.secret.get_secret_value() if table.secret is not None else None,
        ca_file=table.ca_file,
    )


def _mail(name: str, table: MailTable) -> Mail:
    return Mail(
        name=name,
        wanted=table.wanted(),
        host=table.server,
        port=table.port or _PORTS[table.security],
        security=table.security,
        username=table.username,
        password=table.password.get_secret_value() if table.password is not None else None,
        sender=table.sender,
        recipients=tuple(table.recipients),
        ca_file=table.ca_file,
    )


def _syslog(name: str, table: SyslogTable) -> Syslog:
    return Syslog(
        name=name,
        wanted=table.wanted(),
        transport=table.transport,
        host=table.server or "",
        port=table.port or (_SYSLOG_TLS if table.transport == "tls" else _PORTS[table.transport]),
        path=table.path,
        facility=table.facility,
        ca_file=table.ca_file,
    )
