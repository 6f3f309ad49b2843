"""Code that stands around stages: the base, and one file for each behaviour."""

from fluxio.runtime.middleware.base import Middleware
from fluxio.runtime.middleware.cache import CacheMiddleware
from fluxio.runtime.middleware.circuit_breaker import CircuitBreakerMiddleware
from fluxio.runtime.middleware.rate_limit import RateLimitMiddleware
from fluxio.runtime.middleware.retry import RetryMiddleware
from fluxio.types import Next

__all__ = [
    "CacheMiddleware",
    "CircuitBreakerMiddleware",
    "Middleware",
    "Next",
    "RateLimitMiddleware",
    "RetryMiddleware",
]
