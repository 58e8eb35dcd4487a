"""The event bus: how the services of one node tell each other facts and ask each other questions."""

from appliance.bus.bus import BusStatistics as BusStatistics
from appliance.bus.bus import EventBus as EventBus
from appliance.bus.bus import FeedbackLoopError as FeedbackLoopError
from appliance.bus.envelope import Envelope as Envelope
from appliance.bus.subscription import BusSubscription as BusSubscription
from appliance.bus.subscription import SubscriptionStatistics as SubscriptionStatistics
from appliance.bus.trace import Trace as Trace
from appliance.bus.trace import TraceFilter as TraceFilter
