"""fluxio: durable pipelines in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxio.lazily import names_of

if TYPE_CHECKING:
    from fluxio.codec import Keyring, Secret, register_type
    from fluxio.context import Context, FinalContext
    from fluxio.errors import (
        CheckpointVersionError,
        CircuitOpenError,
        CompilationError,
        ConfigurationError,
        CorruptCheckpointError,
        DecodingError,
        EncodingError,
        FluxioError,
        ForeignRunError,
        InvalidRunIDError,
        LeaseLostError,
        MergeConflictError,
        MutationError,
        NoCheckpointError,
        RoutingError,
        RunCancelledError,
        RunFailedError,
        RunIDInUseError,
        SourceChangedError,
        StageResultError,
        StageTimeoutError,
        StoreError,
        StoreUnavailableError,
        TransactionRefusedError,
        ValidationError,
    )
    from fluxio.nodes import ForkMode, NodeType, Parallel, RetryPolicy, Send, Stage, stage
    from fluxio.observability.base import BaseCallback
    from fluxio.observability.langfuse import LangfuseCallback as LangfuseCallback
    from fluxio.observability.logging import LoggingCallback
    from fluxio.observability.metrics import MetricsCallback as MetricsCallback
    from fluxio.observability.opentelemetry import OpenTelemetryCallback as OpenTelemetryCallback
    from fluxio.passages import Where
    from fluxio.pipeline import Pipeline
    from fluxio.runtime.cache import CacheStore, InMemoryCache
    from fluxio.runtime.middleware import (
        CacheMiddleware,
        CircuitBreakerMiddleware,
        Middleware,
        RateLimitMiddleware,
        RetryMiddleware,
    )
    from fluxio.runtime.runs import Watchers
    from fluxio.runtime.step import current_step
    from fluxio.store.base import Checkpoint, CheckpointStore
    from fluxio.store.memory import InMemoryStore
    from fluxio.store.redis import RedisStore as RedisStore
    from fluxio.testing.fixtures import make_ctx
    from fluxio.testing.harness import StepHarness
    from fluxio.types import OnConflict, RunStatus

# Where each name lives. A module is loaded when one of its names is first asked for, so that
# `import fluxio` costs next to nothing and needs no extra.
_HOMES = {
    "fluxio.codec": ("Keyring", "Secret", "register_type"),
    "fluxio.context": ("Context", "FinalContext"),
    "fluxio.errors": (
        "CheckpointVersionError",
        "CircuitOpenError",
        "CompilationError",
        "ConfigurationError",
        "CorruptCheckpointError",
        "DecodingError",
        "EncodingError",
        "FluxioError",
        "ForeignRunError",
        "InvalidRunIDError",
        "LeaseLostError",
        "MergeConflictError",
        "MutationError",
        "NoCheckpointError",
        "RoutingError",
        "RunCancelledError",
        "RunFailedError",
        "RunIDInUseError",
        "SourceChangedError",
        "StageResultError",
        "StageTimeoutError",
        "StoreError",
        "StoreUnavailableError",
        "TransactionRefusedError",
        "ValidationError",
    ),
    "fluxio.nodes": ("ForkMode", "NodeType", "Parallel", "RetryPolicy", "Send", "Stage", "stage"),
    "fluxio.observability.base": ("BaseCallback",),
    "fluxio.observability.langfuse": ("LangfuseCallback",),
    "fluxio.observability.logging": ("LoggingCallback",),
    "fluxio.observability.metrics": ("MetricsCallback",),
    "fluxio.observability.opentelemetry": ("OpenTelemetryCallback",),
    "fluxio.passages": ("Where",),
    "fluxio.pipeline": ("Pipeline",),
    "fluxio.runtime.cache": ("CacheStore", "InMemoryCache"),
    "fluxio.runtime.middleware": (
        "CacheMiddleware",
        "CircuitBreakerMiddleware",
        "Middleware",
        "RateLimitMiddleware",
        "RetryMiddleware",
    ),
    "fluxio.runtime.runs": ("Watchers",),
    "fluxio.runtime.step": ("current_step",),
    "fluxio.store.base": ("Checkpoint", "CheckpointStore"),
    "fluxio.store.memory": ("InMemoryStore",),
    "fluxio.store.redis": ("RedisStore",),
    "fluxio.testing.fixtures": ("make_ctx",),
    "fluxio.testing.harness": ("StepHarness",),
    "fluxio.types": ("OnConflict", "RunStatus"),
}

__getattr__, __dir__ = names_of(__name__, _HOMES)

# Names that need an extra are left out, so that `from fluxio import *` works without it.
__all__ = [
    "BaseCallback",
    "CacheMiddleware",
    "CacheStore",
    "Checkpoint",
    "CheckpointStore",
    "CheckpointVersionError",
    "CircuitBreakerMiddleware",
    "CircuitOpenError",
    "CompilationError",
    "ConfigurationError",
    "Context",
    "CorruptCheckpointError",
    "DecodingError",
    "EncodingError",
    "FinalContext",
    "FluxioError",
    "ForeignRunError",
    "ForkMode",
    "InMemoryCache",
    "InMemoryStore",
    "InvalidRunIDError",
    "Keyring",
    "LeaseLostError",
    "LoggingCallback",
    "MergeConflictError",
    "Middleware",
    "MutationError",
    "NoCheckpointError",
    "NodeType",
    "OnConflict",
    "Parallel",
    "Pipeline",
    "RateLimitMiddleware",
    "RetryMiddleware",
    "RetryPolicy",
    "RoutingError",
    "RunCancelledError",
    "RunFailedError",
    "RunIDInUseError",
    "RunStatus",
    "Secret",
    "Send",
    "SourceChangedError",
    "Stage",
    "StageResultError",
    "StageTimeoutError",
    "StepHarness",
    "StoreError",
    "StoreUnavailableError",
    "TransactionRefusedError",
    "ValidationError",
    "Watchers",
    "Where",
    "current_step",
    "make_ctx",
    "register_type",
    "stage",
]
