"""The imported tables in the admin: to look at, not to change."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from example_project.imports.models import (
    Airport,
    Country,
    LedgerEntry,
    RejectedRow,
    SourceFile,
    TimeZone,
)


class ReadOnlyAdmin(admin.ModelAdmin):
    """Shows rows that only an import may write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes rows by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes rows by hand."""
        return False


@admin.register(Airport)
class AirportAdmin(ReadOnlyAdmin):
    """The airports of the world."""

    list_display = ["code", "iata", "name", "city", "country_id", "time_zone_id"]
    search_fields = ["code", "iata", "name", "city"]


@admin.register(Country)
class CountryAdmin(ReadOnlyAdmin):
    """What the airports of each country add up to."""

    list_display = ["code", "airports", "highest_feet"]
    search_fields = ["code"]


@admin.register(TimeZone)
class TimeZoneAdmin(ReadOnlyAdmin):
    """What the airports of each time zone add up to."""

    list_display = ["name", "airports", "countries"]
    search_fields = ["name"]


@admin.register(RejectedRow)
class RejectedRowAdmin(ReadOnlyAdmin):
    """What was kept aside, and why."""

    list_display = ["line", "reasons", "source"]


@admin.register(SourceFile)
class SourceFileAdmin(ReadOnlyAdmin):
    """The files that were read."""

    list_display = ["path", "rows", "sha256", "first_read"]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """Which run wrote which airport."""

    list_display = ["airport_id", "run_id", "step", "written_at"]
    search_fields = ["run_id", "airport__code"]
