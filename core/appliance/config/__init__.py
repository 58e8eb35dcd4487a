"""Configuration: the models plugins declare (public) and the loader that fills them (private).

Public to plugins: `Model`, `Scope`, `Config`, the field types in `appliance.config.types`, and the
vocabulary in which tables speak of each other's things, in `appliance.config.interfaces`, `.users` and `.vocabulary`.
"""

from appliance.config.docstrings import description_of as description_of
from appliance.config.interfaces import LogicalInterface as LogicalInterface
from appliance.config.interfaces import ProvidesInterfaces as ProvidesInterfaces
from appliance.config.model import Config as Config
from appliance.config.model import Model as Model
from appliance.config.model import Scope as Scope
from appliance.config.model import scope_of as scope_of
from appliance.config.users import ProvidesUsers as ProvidesUsers
from appliance.config.users import User as User
from appliance.config.users import UserRole as UserRole
from appliance.config.vocabulary import Address as Address
from appliance.config.vocabulary import Alias as Alias
from appliance.config.vocabulary import ClusterLink as ClusterLink
from appliance.config.vocabulary import Gateway as Gateway
from appliance.config.vocabulary import NamesSections as NamesSections
from appliance.config.vocabulary import ProvidesAliases as ProvidesAliases
from appliance.config.vocabulary import ProvidesClusterLink as ProvidesClusterLink
from appliance.config.vocabulary import ProvidesGateways as ProvidesGateways
from appliance.config.vocabulary import ProvidesPairing as ProvidesPairing
from appliance.config.vocabulary import ProvidesTraffic as ProvidesTraffic
from appliance.config.vocabulary import ProvidesVirtualHosts as ProvidesVirtualHosts
from appliance.config.vocabulary import Traffic as Traffic
from appliance.config.vocabulary import VirtualHost as VirtualHost
from appliance.config.vocabulary import neighbours as neighbours
