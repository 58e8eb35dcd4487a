"""The table ``[hello]``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from appliance.config import Model, Scope
from appliance.config.types import InterfaceName, Port

DEFAULT_PORT = 7847


class HelloConfig(Model):
    """What to say, and whether the other nodes should hear it."""

    greeting: Annotated[str, Field(min_length=1, max_length=80)] = "hello"
    """What to say when this node becomes master."""

    share_on: InterfaceName | None = None
    """Logical interface on which the other nodes are told; without it nobody else hears the greeting."""

    port: Annotated[Port, Scope.SHARED] = DEFAULT_PORT
    """UDP port for telling the other nodes."""
