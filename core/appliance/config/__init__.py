"""Configuration: the models plugins declare (public) and the loader that fills them (private).

Public to plugins: `Model`, `Scope`, `Config`, the field types in `appliance.config.types`, and the
interface vocabulary in `appliance.config.interfaces`.
"""

from appliance.config.interfaces import LogicalInterface as LogicalInterface
from appliance.config.interfaces import ProvidesInterfaces as ProvidesInterfaces
from appliance.config.model import Config as Config
from appliance.config.model import Model as Model
from appliance.config.model import Scope as Scope
from appliance.config.model import scope_of as scope_of
