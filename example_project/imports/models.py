"""The tables an import fills: airports, what was refused, and a ledger of what was written."""

from django.db import models


class SourceFile(models.Model):
    """A file as it was read, known by what is in it; a copy under another name is the same file."""

    sha256 = models.CharField(max_length=64, unique=True)
    path = models.TextField()
    rows = models.PositiveIntegerField()
    first_read = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-first_read"]

    def __str__(self) -> str:
        return f"{self.path} ({self.rows} rows)"


class RejectedRow(models.Model):
    """A row that was kept aside, as it stands in its file, with the reasons."""

    source = models.ForeignKey(SourceFile, on_delete=models.CASCADE, related_name="rejected")
    line = models.PositiveIntegerField(help_text="Line of the file; the header is line 1.")
    values = models.JSONField()
    reasons = models.JSONField(help_text="At least one text.")

    class Meta:
        ordering = ["source", "line"]
        constraints = [
            models.UniqueConstraint(fields=["source", "line"], name="rejected_row_once"),
        ]

    def __str__(self) -> str:
        return f"line {self.line}: {'; '.join(self.reasons)}"


class Country(models.Model):
    """A country, by its ISO 3166-1 code, with what its airports add up to."""

    code = models.CharField(max_length=2, primary_key=True)
    airports = models.PositiveIntegerField()
    highest_feet = models.FloatField(help_text="Elevation of its highest airport.")

    class Meta:
        ordering = ["code"]
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.code


class TimeZone(models.Model):
    """A time zone, by its IANA name, with what its airports add up to."""

    name = models.CharField(max_length=64, primary_key=True)
    airports = models.PositiveIntegerField()
    countries = models.PositiveIntegerField(help_text="Countries that keep this time.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Airport(models.Model):
    """An airport, by the four characters of its ICAO code or of its local one."""

    code = models.CharField(max_length=4, primary_key=True)
    iata = models.CharField(max_length=3, blank=True)
    name = models.CharField(max_length=100)
    city = models.CharField(max_length=100, blank=True)
    region = models.CharField(max_length=100, blank=True)
    country = models.ForeignKey(Country, on_delete=models.PROTECT)
    time_zone = models.ForeignKey(TimeZone, on_delete=models.PROTECT)
    elevation_feet = models.FloatField()
    latitude = models.FloatField()
    longitude = models.FloatField()

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class LedgerEntry(models.Model):
    """One airport written by one run.

    An upsert that is done twice leaves no trace in the airports; it would leave one here, since
    entries are only ever added and nothing keeps them unique.
    """

    run_id = models.CharField(max_length=128)
    step = models.CharField(max_length=200)
    airport = models.ForeignKey(Airport, on_delete=models.CASCADE, related_name="+")
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "ledger entries"
        indexes = [
            models.Index(fields=["run_id", "step"], name="ledger_by_run"),
        ]

    def __str__(self) -> str:
        return f"{self.airport_id} by {self.run_id} in {self.step}"
