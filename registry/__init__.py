"""What exists and how it talks: messages, the bus that carries them, and the services behind them."""

from aetherra.registry.bus import Bus, BusStatistics
from aetherra.registry.call import Call, current_call
from aetherra.registry.caller import Caller
from aetherra.registry.capabilities import Capabilities
from aetherra.registry.client import NoHostError, RemoteHost, connect
from aetherra.registry.clock import Clock, SystemClock, Timer
from aetherra.registry.errors import (
    AetherraError,
    CallDepthError,
    CallTimeoutError,
    CapabilityError,
    EventTimeoutError,
    HandlerBusyError,
    HandlerError,
    HostGoneError,
    MessageDefinitionError,
    MessageValidationError,
    NoHandlerError,
    ParkingFullError,
    ProtocolError,
    RemoteError,
    ReplyTypeError,
    RouteConflictError,
    ServiceConflictError,
    ServiceFailedError,
    ServiceNotFoundError,
    ServiceQuarantinedError,
    ServiceQuiescedError,
    ServiceStartingError,
    ServiceStoppedError,
    ServiceStoppingError,
    ServiceUnavailableError,
    UnknownEventError,
)
from aetherra.registry.gate import Gate
from aetherra.registry.health import HealthReport, ServiceStatus, fold_health
from aetherra.registry.identity import HOST, Identity
from aetherra.registry.latency import Latency
from aetherra.registry.listener import Listener, RemoteEvent
from aetherra.registry.mailbox import Mailbox, Overflow
from aetherra.registry.messages import Message, Request, renamed_from, tag_of
from aetherra.registry.observer import Observer
from aetherra.registry.remote_blocking import BlockingHost, BlockingListener, connect_blocking
from aetherra.registry.route import Route, RouteStatistics
from aetherra.registry.server import serve
from aetherra.registry.services import (
    Lease,
    ServiceInfo,
    ServiceRegistered,
    ServiceRegistry,
    ServiceStatusChanged,
    ServiceUnregistered,
)
from aetherra.registry.split import Figures, Split, SplitKeyError
from aetherra.registry.subscription import Letter, Subscription
from aetherra.registry.topics import Topics, TopicStatistics

__all__ = [
    "HOST",
    "AetherraError",
    "BlockingHost",
    "BlockingListener",
    "Bus",
    "BusStatistics",
    "Call",
    "CallDepthError",
    "CallTimeoutError",
    "Caller",
    "Capabilities",
    "CapabilityError",
    "Clock",
    "EventTimeoutError",
    "Figures",
    "Gate",
    "HandlerBusyError",
    "HandlerError",
    "HealthReport",
    "HostGoneError",
    "Identity",
    "Latency",
    "Lease",
    "Letter",
    "Listener",
    "Mailbox",
    "Message",
    "MessageDefinitionError",
    "MessageValidationError",
    "NoHandlerError",
    "NoHostError",
    "Observer",
    "Overflow",
    "ParkingFullError",
    "ProtocolError",
    "RemoteError",
    "RemoteEvent",
    "RemoteHost",
    "ReplyTypeError",
    "Request",
    "Route",
    "RouteConflictError",
    "RouteStatistics",
    "ServiceConflictError",
    "ServiceFailedError",
    "ServiceInfo",
    "ServiceNotFoundError",
    "ServiceQuarantinedError",
    "ServiceQuiescedError",
    "ServiceRegistered",
    "ServiceRegistry",
    "ServiceStartingError",
    "ServiceStatus",
    "ServiceStatusChanged",
    "ServiceStoppedError",
    "ServiceStoppingError",
    "ServiceUnavailableError",
    "ServiceUnregistered",
    "Split",
    "SplitKeyError",
    "Subscription",
    "SystemClock",
    "Timer",
    "TopicStatistics",
    "Topics",
    "UnknownEventError",
    "connect",
    "connect_blocking",
    "current_call",
    "fold_health",
    "renamed_from",
    "serve",
    "tag_of",
]
