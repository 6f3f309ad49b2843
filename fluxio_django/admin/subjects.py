"""What a run is about, as a link into the admin for those who may look at it there."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.admin import AdminSite
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from fluxio_django import services
from fluxio_django.admin.measures import printable
from fluxio_django.models import Run
from fluxio_django.subjects import kinds
from fluxio_django.tables import Tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What a run is about; `address` is "" where there is no page, or not for this user."""

    text: str
    address: str = ""


class SubjectLinks:
    """Finds the pages of subjects in one admin site, for one user; asks for no instance."""

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        self._site = site
        self._request = request

    def of(self, run: Run) -> Subject | None:
        """What a run is about, None where that is nothing."""
        if not run.subject_id:
            return None
        kind = _kind(run.subject_type_id)
        if kind is None:
            return Subject(text=f"? {printable(run.subject_id)}")
        text = f"{kind.app_label}.{kind.model} {printable(run.subject_id)}"
        return Subject(text=text, address=self._address(kind, run.subject_id))

    def _address(self, kind: ContentType, key: str) -> str:
        model = kind.model_class()
        if model is None or not self._site.is_registered(model):
            return ""
        if not self._site.get_model_admin(model).has_view_permission(self._request):
            return ""
        name = f"admin:{kind.app_label}_{kind.model}_change"
        try:
            return reverse(name, args=[key], current_app=self._site.name)
        except NoReverseMatch:
            return ""


def _kind(key: int | None) -> ContentType | None:
    if key is None:
        return None
    try:
        found: ContentType = kinds(Tables(services.database())).get_for_id(key)
        return found
    except ContentType.DoesNotExist:
        return None
