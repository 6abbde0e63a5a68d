"""What exists and how it talks: messages, the bus that carries them, and the services behind them."""

from aetherra.registry.bus import Bus, BusStatistics, Subscription
from aetherra.registry.client import NoHostError, RemoteEvent, RemoteHost, connect
from aetherra.registry.clock import Clock, SystemClock
from aetherra.registry.errors import (
    AetherraError,
    CallTimeoutError,
    HandlerError,
    MessageDefinitionError,
    MessageValidationError,
    NoHandlerError,
    ParkingFullError,
    ProtocolError,
    RemoteError,
    ReplyTypeError,
    RouteConflictError,
    ServiceConflictError,
    ServiceNotFoundError,
    ServiceStoppedError,
)
from aetherra.registry.health import HealthReport, ServiceStatus, fold_health
from aetherra.registry.identity import HOST, Identity
from aetherra.registry.mailbox import Mailbox, Overflow
from aetherra.registry.messages import Message, Request, tag_of
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

__all__ = [
    "HOST",
    "AetherraError",
    "Bus",
    "BusStatistics",
    "CallTimeoutError",
    "Clock",
    "HandlerError",
    "HealthReport",
    "Identity",
    "Lease",
    "Mailbox",
    "Message",
    "MessageDefinitionError",
    "MessageValidationError",
    "NoHandlerError",
    "NoHostError",
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
    "ServiceInfo",
    "ServiceNotFoundError",
    "ServiceRegistered",
    "ServiceRegistry",
    "ServiceStatus",
    "ServiceStatusChanged",
    "ServiceStoppedError",
    "ServiceUnregistered",
    "Subscription",
    "SystemClock",
    "connect",
    "fold_health",
    "serve",
    "tag_of",
]
