"""The list of runs: one page of it, where the pages around it are, and the figures above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from fluxio_django.admin.columns import NEWEST_FIRST, OLDEST_FIRST, SUBJECT
from fluxio_django.admin.keyset import Cursor, cursor_in, read_page
from fluxio_django.admin.subjects import SubjectLinks
from fluxio_django.models import Run

if TYPE_CHECKING:
    from django.db.models.expressions import Combinable


class RunChangeList(ChangeList):
    """Django's list, which finds its pages by a cursor and counts nothing."""

    before_address: str
    after_address: str

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Run]) -> list[str | Combinable]:
        """By the time of creation, either way, and then by key: as the index has them."""
        chosen: Sequence[Any] = super().get_ordering(request, queryset)
        return [*(OLDEST_FIRST if chosen[0] == OLDEST_FIRST[0] else NEWEST_FIRST)]

    def get_results(self, request: HttpRequest) -> None:
        """Read one page; what would need a count is left out."""
        runs: QuerySet[Run] = self.queryset
        found = read_page(
            runs.defer("error"),
            cursor_in(request.GET.get(PAGE_VAR, "")),
            size=self.list_per_page,
            oldest_first=runs.query.order_by[0] == OLDEST_FIRST[0],
        )
        links = SubjectLinks(self.model_admin.admin_site, request)
        for run in found.runs:
            vars(run)[SUBJECT] = links.of(run)
        self.result_list = list(found.runs)
        self.result_count = self.full_result_count = len(found.runs)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.before_address = self._address(found.before)
        self.after_address = self._address(found.after)

    def _address(self, cursor: Cursor | None) -> str:
        return "" if cursor is None else str(self.get_query_string({PAGE_VAR: str(cursor)}))
