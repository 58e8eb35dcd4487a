"""What the service is told: plain frozen values. Secrets are in them, and never in their representation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance_notify.vocabulary import Kind, Notice, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which notices a target gets, and how many messages a minute."""

    classes: frozenset[str] = frozenset()
    """Empty: all."""
    severity: Severity = Severity.WARNING
    per_minute: int = 6

    def wants(self, notice: Notice) -> bool:
        """Whether this notice is for the target."""
        if notice.kind is Kind.TEST:
            return True
        return notice.severity >= self.severity and (not self.classes or notice.kind in self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An HTTP server."""

    name: str
    wanted: Wanted = Wanted()
    host: str
    port: int
    tls: bool
    path: str = field(repr=False)
    """With its query. Chat services put their password here."""
    secret: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    kind = "webhook"

    @property
    def where(self) -> str:
        """For people; without the path."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail server and who gets mail through it."""

    name: str
    wanted: Wanted = Wanted()
    host: str
    port: int
    security: str
    """``starttls``, ``tls`` or ``none``."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sender: str
    recipients: tuple[str, ...]
    ca_file: str | None = None

    kind = "mail"

    @property
    def where(self) -> str:
        """For people."""
        return f"{', '.join(self.recipients)} by {self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Syslog:
    """A syslog server, or the daemon of this machine."""

    name: str
    wanted: Wanted = Wanted()
    transport: str
    """``udp``, ``tcp``, ``tls`` or ``local``."""
    host: str = ""
    port: int = 0
    path: str = ""
    """Of the socket, for ``local``."""
    facility: str = "daemon"
    ca_file: str | None = None

    kind = "syslog"

    @property
    def where(self) -> str:
        """For people."""
        return self.path if self.transport == "local" else f"{self.transport} {self.host}:{self.port}"


Target = Webhook | Mail | Syslog


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All targets, and whose the addresses of this node are."""

    targets: tuple[Target, ...] = ()
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Own addresses of the interface of each virtual address, which are the cluster's and not this node's."""
