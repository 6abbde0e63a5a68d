"""What runs: the kernel with its queue, plugins and configuration, on top of the registry."""

from aetherra.kernel.actions.action import current_action
from aetherra.kernel.actions.course import ActionOverrun
from aetherra.kernel.actions.envelope import ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.letter import DeadLetter
from aetherra.kernel.actions.limiter import ConcurrencyLimiter, GradientLimiter
from aetherra.kernel.actions.redrive import RedriveReport
from aetherra.kernel.actions.submission import Submission
from aetherra.kernel.actions.tally import ActionStatistics
from aetherra.kernel.config import Config, DlqConfig, KernelConfig, LaneConfig, LanesConfig
from aetherra.kernel.context import PluginContext
from aetherra.kernel.corrections import Advise, Correction, LogFacts
from aetherra.kernel.datadir import AppendFile
from aetherra.kernel.errors import (
    ActionCancelledError,
    ActionExpiredError,
    ActionQueueFullError,
    ActionRunningError,
    ConfigError,
    DataFileError,
    HostRunningError,
    KernelNotRunningError,
    LetterNotFoundError,
    PluginDefinitionError,
    PluginLoadError,
    PluginNotFoundError,
    PrivilegeError,
    Reject,
    ReplyLostError,
    RetryLater,
    StepTimeoutError,
)
from aetherra.kernel.hookspecs import PHASES, CyclePhase, CycleStep, MetricSample, hookimpl
from aetherra.kernel.kernel import Kernel
from aetherra.kernel.manager import PluginInfo
from aetherra.kernel.messages import (
    CycleReport,
    DisablePlugin,
    EnablePlugin,
    Footprint,
    GetFootprint,
    GetHealth,
    GetStatistics,
    GetStatus,
    GetVitals,
    Health,
    HostStatus,
    KernelStatistics,
    LaneBounds,
    LifecycleStatistics,
    Maintain,
    PluginDisabled,
    PluginEnabled,
    PluginRestarted,
    RestartPlugin,
    StepDone,
    TuneActions,
    Vitals,
)
from aetherra.kernel.plugin import Plugin, Settings, every, handler
from aetherra.kernel.spec import API_VERSION
from aetherra.kernel.state import State, StateError
from aetherra.kernel.swap import Candidate, Swapper
from aetherra.kernel.vitals import PluginVitals
from aetherra.kernel.watchdog import LoopBlocked

__all__ = [
    "API_VERSION",
    "PHASES",
    "ActionCancelledError",
    "ActionEnvelope",
    "ActionExpiredError",
    "ActionHandle",
    "ActionOverrun",
    "ActionPriority",
    "ActionQueueFullError",
    "ActionRunningError",
    "ActionStatistics",
    "Advise",
    "AppendFile",
    "Candidate",
    "ConcurrencyLimiter",
    "Config",
    "ConfigError",
    "Correction",
    "CyclePhase",
    "CycleReport",
    "CycleStep",
    "DataFileError",
    "DeadLetter",
    "DisablePlugin",
    "DlqConfig",
    "EnablePlugin",
    "Footprint",
    "GetFootprint",
    "GetHealth",
    "GetStatistics",
    "GetStatus",
    "GetVitals",
    "GradientLimiter",
    "Health",
    "HostRunningError",
    "HostStatus",
    "Kernel",
    "KernelConfig",
    "KernelNotRunningError",
    "KernelStatistics",
    "LaneBounds",
    "LaneConfig",
    "LanesConfig",
    "LetterNotFoundError",
    "LifecycleStatistics",
    "LogFacts",
    "LoopBlocked",
    "Maintain",
    "MetricSample",
    "Plugin",
    "PluginContext",
    "PluginDefinitionError",
    "PluginDisabled",
    "PluginEnabled",
    "PluginInfo",
    "PluginLoadError",
    "PluginNotFoundError",
    "PluginRestarted",
    "PluginVitals",
    "PrivilegeError",
    "RedriveReport",
    "Reject",
    "ReplyLostError",
    "RestartPlugin",
    "RetryLater",
    "RetryPolicy",
    "Settings",
    "State",
    "StateError",
    "StepDone",
    "StepTimeoutError",
    "Submission",
    "Swapper",
    "TuneActions",
    "Vitals",
    "current_action",
    "every",
    "handler",
    "hookimpl",
]
