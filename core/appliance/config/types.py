"""Ready-made field types for configuration models.

Models are strict, so ``"5"`` is not a number; addresses and secrets, which TOML can only write as
strings, are the exceptions and live here. Wrong values get messages that say what would be right.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, Strict
from pydantic_core import PydanticCustomError


def _is_text(value: object) -> object:
    # The address classes also take integers and bytes; in a file those are mistakes.
    if not isinstance(value, str | IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        raise PydanticCustomError("string_type", "text in quotes is needed")
    return value


def _needs_prefix(value: object) -> object:
    if isinstance(value, str) and "/" not in value:
        raise ValueError(f"an address with its prefix length is needed, such as {value}/24")
    return _is_text(value)


# Strict(False) goes on each member: pydantic refuses it on a union.
Ipv4 = Annotated[IPv4Address, Strict(False), BeforeValidator(_is_text)]
Ipv6 = Annotated[IPv6Address, Strict(False), BeforeValidator(_is_text)]
Ip = Ipv4 | Ipv6
Ipv4Cidr = Annotated[IPv4Interface, Strict(False), BeforeValidator(_needs_prefix)]
Ipv6Cidr = Annotated[IPv6Interface, Strict(False), BeforeValidator(_needs_prefix)]
Network = (
    Annotated[IPv4Network, Strict(False), BeforeValidator(_is_text)]
    | Annotated[IPv6Network, Strict(False), BeforeValidator(_is_text)]
)
Cidr = Ipv4Cidr | Ipv6Cidr
"""An address with its prefix length, ``192.168.1.2/24``."""

DeviceName = Annotated[str, Field(pattern=r"^[^\s/:]{1,15}$")]
"""A kernel network device name: at most 15 bytes (IFNAMSIZ - 1), no space, slash or colon."""

InterfaceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,14}$")]
"""A logical interface name such as ``lan``: lower-case letter first, at most 15 characters."""

Vhid = Annotated[int, Field(ge=1, le=255)]
"""A CARP virtual host id."""

Port = Annotated[int, Field(ge=1, le=65535)]
Mtu = Annotated[int, Field(ge=576, le=65535)]
VlanId = Annotated[int, Field(ge=1, le=4094)]


def _is_positive(value: float) -> float:
    if value <= 0:
        raise ValueError("a duration in seconds greater than 0 is needed")
    return value


Seconds = Annotated[float, AfterValidator(_is_positive)]
"""A duration in seconds."""

Secret = SecretStr
"""Text that is never printed: redacted in dumps, logs and errors."""
