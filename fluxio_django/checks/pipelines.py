"""Checks of the registered pipelines: whether they can be built, and where their runs are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage

import fluxio
from fluxio.errors import ConfigurationError
from fluxio_django.checks.ids import CheckID
from fluxio_django.conf import settings
from fluxio_django.registry import pipelines

if TYPE_CHECKING:
    from fluxio_django.pipeline import DjangoPipeline

_PROCESSES = ("celery", "tasks")
"""Dispatchers whose workers are other processes."""


def check_pipelines(app_configs: object, **_: Any) -> list[CheckMessage]:
    """Two of one name; one that cannot be built; one whose runs are not kept, or not for long."""
    found: list[CheckMessage] = []
    for name in pipelines:
        if name in pipelines.clashes:
            found.append(_duplicate(name, pipelines.clashes[name]))
            continue
        try:
            pipeline = pipelines[name]
        except Exception as problem:  # noqa: BLE001 - whatever a factory of the project raises
            found.append(_broken(name, problem))
        else:
            found += _forgetful(name, pipeline)
            found += _unrecorded(name, pipeline)
    return found


def built() -> Iterator[tuple[str, DjangoPipeline]]:
    """The pipelines that can be built."""
    for name in pipelines:
        try:
            yield name, pipelines[name]
        except Exception:  # noqa: BLE001, S112 - told by the check above
            continue


def _duplicate(name: str, clash: ConfigurationError) -> CheckMessage:
    message, _separator, _rest = str(clash).partition(". Rename one.")
    return CheckID.DUPLICATE_NAME.message(
        f"{message}.", hint="Rename one of them; until then neither can be used.", obj=name
    )


def _broken(name: str, problem: Exception) -> CheckMessage:
    return CheckID.BROKEN_PIPELINE.message(
        f"Pipeline {name!r} cannot be built: {type(problem).__qualname__}: {problem}",
        hint="Mend what its factory in pipelines.py does; fluxio_explain shows what it builds.",
        obj=name,
    )


def _forgetful(name: str, pipeline: DjangoPipeline) -> Iterator[CheckMessage]:
    if not pipeline.durable or not isinstance(pipeline.checkpoint_store, fluxio.InMemoryStore):
        return
    workers = settings().dispatcher in _PROCESSES
    if workers or not django_settings.DEBUG:
        yield CheckID.MEMORY_STORE.message(
            f"Pipeline {name!r} is durable, but keeps its runs in the memory of one process: no "
            "other worker sees them, and none survives a restart.",
            hint="Leave checkpoint_store out, so that FLUXIO['STORE'] is used, which is "
            "'fluxio_django.DjangoStore' by default.",
            obj=name,
        )


def _unrecorded(name: str, pipeline: DjangoPipeline) -> Iterator[CheckMessage]:
    if not pipeline.durable and pipeline.checkpoint_store is not None:
        yield CheckID.UNRECORDED.message(
            f"Pipeline {name!r} has a checkpoint_store, but is not durable: its runs are not "
            "recorded there, and cannot be resumed.",
            hint="Add durable=True, or leave checkpoint_store out.",
            obj=name,
        )


def check_open_pipelines(app_configs: object, **_: Any) -> list[CheckMessage]:
    """FLUXIO["VIEWS"] names a pipeline that is not there, or whose runs cannot be queued."""
    at_hand = dict(built())
    found: list[CheckMessage] = []
    for name, opening in settings().views.items():
        if name not in pipelines:
            found.append(
                CheckID.UNKNOWN_OPENING.message(
                    f"FLUXIO['VIEWS'] opens {name!r}, and no pipeline has this name.",
                    hint=f"Registered: {', '.join(pipelines) or 'none'}.",
                    obj="settings.FLUXIO",
                )
            )
        elif name in at_hand and opening.get("START"):
            found += _unqueueable(name, at_hand[name])
    return found


def _unqueueable(name: str, pipeline: DjangoPipeline) -> Iterator[CheckMessage]:
    try:
        pipeline.queue_tables()
    except ConfigurationError:
        yield CheckID.UNQUEUEABLE.message(
            f"FLUXIO['VIEWS'] lets people start {name!r}, but the pipeline keeps no runs in the "
            "database, so none can be queued.",
            hint="Build it with durable=True, and with no store of its own.",
            obj=name,
        )
