"""Records that nobody adds, changes or deletes here, and that only some may see."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import Http404, HttpRequest
from django.urls import reverse

from fluxio_django import services
from fluxio_django.admin.measures import NOTHING

AnyModel = TypeVar("AnyModel", bound=Model)

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin
else:

    class ModelAdmin(admin.ModelAdmin):
        """Django's own, which type checkers know as generic and the interpreter does not."""

        def __class_getitem__(cls, item: object) -> type:
            return cls


def address(site: admin.AdminSite, name: str, *keys: Any, **query: Any) -> str:
    """The address of one of our pages in an admin site."""
    found = reverse(f"admin:fluxio_django_{name}", args=keys, current_app=site.name)
    return f"{found}?{urlencode(query, doseq=True)}" if query else found


class ReadOnlyAdmin(ModelAdmin[AnyModel]):
    """Shows, and refuses everything else: history is never edited."""

    # No field is ever edited; what is shown comes from the templates.
    fields = ()
    empty_value_display = NOTHING
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 50
    allowed_lookups: Collection[str] = ()

    @property
    def media(self) -> Media:
        """The admin's own files, our style sheet, and the script that keeps pages up to date."""
        own = Media(css={"all": ["fluxio_django/admin.css"]}, js=["fluxio_django/live.js"])
        inherited: Media = super().media
        return inherited + own

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: AnyModel | None = None) -> bool:
        """Nobody may."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AnyModel | None = None) -> bool:
        """Nobody may; retention prunes."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[AnyModel]:
        """What this user can see at all. Every look-up starts here: narrow it in a subclass."""
        return super().get_queryset(request).using(services.database())

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> AnyModel | None:
        """The record behind an address.

        Raises:
            PermissionDenied: the user may see no such records.
            Http404: there is none, or it is not for this user; nobody can tell which.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Only what the filters of the list ask for: a free look-up could guess at hidden texts."""
        return lookup in self.allowed_lookups
