"""The pipelines of a Django project, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, overload

from django.utils.module_loading import autodiscover_modules

import fluxio
from fluxio.errors import ConfigurationError, FluxioError
from fluxio_django.conf import default_store
from fluxio_django.limits import NO_LIMITS, Limits, impose, limits_of

if TYPE_CHECKING:
    from fluxio_django.pipeline import DjangoPipeline

Factory = Callable[[], "fluxio.Pipeline"]

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}"


class UnknownPipelineError(FluxioError, KeyError):
    """No pipeline is registered under this name."""

    name: str


class Registry:
    """Maps names to pipelines; each is built when it is first asked for, and once."""

    def __init__(self, store: Callable[[], fluxio.CheckpointStore] = default_store) -> None:
        self._factories: dict[str, Factory] = {}
        self._built: dict[str, DjangoPipeline] = {}
        self._clashes: dict[str, ConfigurationError] = {}
        self._discovering = False
        self._store = store
        # Re-entrant, since a factory may ask for another pipeline to nest it.
        self._lock = RLock()

    def add(self, name: str, factory: Factory, limits: Limits = NO_LIMITS) -> None:
        """Register a factory, and what the queued runs of its pipeline are held to.

        Raises:
            ConfigurationError: the name is none, or is taken by another factory; while pipelines
                are discovered, that is only noted in `clashes`.
        """
        if not isinstance(name, str) or re.fullmatch(_NAME, name) is None:
            raise ConfigurationError(
                f"{name!r} is no pipeline name: use letters, digits, dots, dashes and underscores, "
                'e.g. "orders.checkout".'
            )
        with self._lock:
            known = self._factories.get(name)
            if known is not None and not _same(known, factory):
                clash = ConfigurationError(
                    f"Pipeline {name!r} is registered twice: by {_place(known)} and by "
                    f"{_place(factory)}. Rename one. Registered: {self._listed()}."
                )
                if not self._discovering:
                    raise clash
                self._clashes[name] = clash
                return
            self._factories[name] = factory
            impose(name, limits)

    def __getitem__(self, name: str) -> DjangoPipeline:
        with self._lock:
            if name not in self._factories:
                raise UnknownPipelineError(
                    f"No pipeline {name!r} is registered. Registered: {self._listed()}.", name=name
                )
            if name in self._clashes:
                raise self._clashes[name]
            if name not in self._built:
                self._built[name] = self._build(name)
            return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._factories)

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return sorted(self._factories)

    @property
    def clashes(self) -> Mapping[str, ConfigurationError]:
        """Names that two pipelines were found under, which neither can be used by."""
        return self._clashes

    @contextmanager
    def discovering(self) -> Iterator[None]:
        """Note names that are taken, for a system check to tell, instead of refusing to start."""
        self._discovering = True
        try:
            yield
        finally:
            self._discovering = False

    def remove(self, name: str) -> None:
        """Forget a pipeline; for tests."""
        with self._lock:
            self._factories.pop(name, None)
            self._built.pop(name, None)
            self._clashes.pop(name, None)
            impose(name, NO_LIMITS)

    def _build(self, name: str) -> DjangoPipeline:
        # Here, so that a process which uses no pipeline starts without what one needs.
        from fluxio_django.pipeline import DjangoPipeline

        made = self._factories[name]()
        if not isinstance(made, fluxio.Pipeline):
            raise ConfigurationError(
                f"{_place(self._factories[name])} is registered as {name!r} and returned "
                f"{type(made).__name__}. Return a fluxio.Pipeline."
            )
        pipeline = made.bound_to(DjangoPipeline, name=name, store=self._store)
        pipeline.limits = limits_of(name)
        return pipeline

    def _listed(self) -> str:
        return ", ".join(self.names()) or "none; write a pipelines.py in an installed app"


pipelines = Registry()


@overload
def register(name: str, *, limits: Limits = ...) -> Callable[[Factory], Factory]: ...


@overload
def register(name: str, pipeline: fluxio.Pipeline, *, limits: Limits = ...) -> fluxio.Pipeline: ...


def register(
    name: str, pipeline: fluxio.Pipeline | None = None, *, limits: Limits = NO_LIMITS
) -> fluxio.Pipeline | Callable[[Factory], Factory]:
    """Register a pipeline: `register(name, pipeline)`, or `@register(name)` on a factory.

    A factory takes nothing, is called once at first use, and stays callable as it was. `limits`
    says what the queued runs of the pipeline are held to.

    Raises:
        ConfigurationError: the name is taken or is none.
    """
    if pipeline is not None:
        pipelines.add(name, _Given(pipeline), limits)
        return pipeline

    def decorate(factory: Factory) -> Factory:
        pipelines.add(name, factory, limits)
        return factory

    return decorate


def autodiscover() -> None:
    """Import `pipelines.py` of every installed app."""
    with pipelines.discovering():
        autodiscover_modules("pipelines")


class _Given:
    """A factory for a pipeline that exists already."""

    def __init__(self, pipeline: fluxio.Pipeline) -> None:
        self.pipeline = pipeline

    def __call__(self) -> fluxio.Pipeline:
        return self.pipeline


def _same(one: Factory, other: Factory) -> bool:
    """Whether a module that was imported twice (autoreload, tests) registers the same again."""
    if isinstance(one, _Given) and isinstance(other, _Given):
        return one.pipeline is other.pipeline
    return _place(one) == _place(other)


def _place(factory: Factory) -> str:
    module = getattr(factory, "__module__", "?")
    return f"{module}.{getattr(factory, '__qualname__', type(factory).__name__)}"
