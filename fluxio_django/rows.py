"""What is asked of the rows of logs, and of the versions of pipelines."""

from __future__ import annotations

import json
from typing import TypeVar

from django.db import connections, models

from fluxio.program import Manifest
from fluxio.store.base import Row
from fluxio_django.records import ROW_FIELDS, row_of

Instance = TypeVar("Instance", bound=models.Model, covariant=True)


class CheckpointQuerySet(models.QuerySet[Instance]):
    """Rows of runs' logs. Name the database first: `.using(alias)`."""

    def holds(self, run_id: str, row: Row) -> bool:
        """Whether exactly this row is kept.

        Under a keyring no row is sealed twice in the same way, so it is opened to be compared.
        """
        kept = self.filter(run__run_id=run_id, sequence=row.sequence).values_list(*ROW_FIELDS)
        connection = connections[self.db]
        return any(row_of(run_id, values, connection).digest == row.digest for values in kept)


class VersionQuerySet(models.QuerySet[Instance]):
    """Versions of pipelines. Name the database first: `.using(alias)`."""

    def note(self, pipeline: str, version: str, manifest: Manifest) -> None:
        """Keep a version's manifest, if it is not kept yet; any number of processes may do so."""
        if self.filter(pipeline=pipeline, version=version).exists():
            return
        text = json.dumps(manifest.to_rows())
        found = self.model(pipeline=pipeline, version=version, manifest=text)
        self.bulk_create([found], ignore_conflicts=True)

    def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """The manifest of a version, None where it is unknown."""
        known = self.filter(pipeline=pipeline, version=version).values_list("manifest", flat=True)
        for text in known:
            return Manifest.from_rows(json.loads(text))
        return None
