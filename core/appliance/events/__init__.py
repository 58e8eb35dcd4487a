"""PUBLIC. The vocabulary services use to tell each other things.

Names are past-tense facts; an imperative name is a request, answered by exactly one provider.
"""

from appliance.events.base import Event as Event
from appliance.events.base import Request as Request
from appliance.events.base import event as event
from appliance.events.base import known_events as known_events
from appliance.events.base import known_requests as known_requests
from appliance.events.base import request as request
from appliance.events.ha import Demotion as Demotion
from appliance.events.ha import HandoverMeasured as HandoverMeasured
from appliance.events.ha import PeerChanged as PeerChanged
from appliance.events.ha import Reclaim as Reclaim
from appliance.events.ha import Role as Role
from appliance.events.ha import RoleChanged as RoleChanged
from appliance.events.ha import SetEnabled as SetEnabled
from appliance.events.ha import SetMaintenance as SetMaintenance
from appliance.events.ha import Switchover as Switchover
from appliance.events.keys import DerivedKey as DerivedKey
from appliance.events.keys import GetKeys as GetKeys
from appliance.events.keys import GetPairing as GetPairing
from appliance.events.keys import KeysChanged as KeysChanged
from appliance.events.keys import PairedNode as PairedNode
from appliance.events.keys import Pairing as Pairing
from appliance.events.link import AddressesChanged as AddressesChanged
from appliance.events.link import LinkChanged as LinkChanged
from appliance.events.metrics import GetMetrics as GetMetrics
from appliance.events.metrics import Sample as Sample
from appliance.events.node import Alarm as Alarm
from appliance.events.node import ConfigApplied as ConfigApplied
from appliance.events.node import ConfigRefused as ConfigRefused
from appliance.events.node import Health as Health
from appliance.events.node import KernelEventsLost as KernelEventsLost
from appliance.events.node import LoopStalled as LoopStalled
from appliance.events.node import NodeStarted as NodeStarted
from appliance.events.node import NodeStopping as NodeStopping
from appliance.events.node import Retracted as Retracted
from appliance.events.node import ServiceCrashed as ServiceCrashed
from appliance.events.node import ServiceStarted as ServiceStarted
from appliance.events.node import ServiceStopped as ServiceStopped
from appliance.events.node import Status as Status
from appliance.events.ruleset import Count as Count
from appliance.events.ruleset import GetCounters as GetCounters
from appliance.events.ruleset import GetRuleset as GetRuleset
from appliance.events.ruleset import RulesetLoaded as RulesetLoaded
