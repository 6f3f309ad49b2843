"""The first tables."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Country",
            fields=[
                ("code", models.CharField(max_length=2, primary_key=True, serialize=False)),
                ("airports", models.PositiveIntegerField()),
                ("highest_feet", models.FloatField(help_text="Elevation of its highest airport.")),
            ],
            options={
                "verbose_name_plural": "countries",
                "ordering": ["code"],
            },
        ),
        migrations.CreateModel(
            name="SourceFile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sha256", models.CharField(max_length=64, unique=True)),
                ("path", models.TextField()),
                ("rows", models.PositiveIntegerField()),
                ("first_read", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["-first_read"],
            },
        ),
        migrations.CreateModel(
            name="TimeZone",
            fields=[
                ("name", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("airports", models.PositiveIntegerField()),
                (
                    "countries",
                    models.PositiveIntegerField(help_text="Countries that keep this time."),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Airport",
            fields=[
                ("code", models.CharField(max_length=4, primary_key=True, serialize=False)),
                ("iata", models.CharField(blank=True, max_length=3)),
                ("name", models.CharField(max_length=100)),
                ("city", models.CharField(blank=True, max_length=100)),
                ("region", models.CharField(blank=True, max_length=100)),
                ("elevation_feet", models.FloatField()),
                ("latitude", models.FloatField()),
                ("longitude", models.FloatField()),
                (
                    "country",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, to="imports.country"
                    ),
                ),
                (
                    "time_zone",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, to="imports.timezone"
                    ),
                ),
            ],
            options={
                "ordering": ["code"],
            },
        ),
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("run_id", models.CharField(max_length=128)),
                ("step", models.CharField(max_length=200)),
                ("written_at", models.DateTimeField(auto_now_add=True)),
                (
                    "airport",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="imports.airport",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "ledger entries",
                "ordering": ["id"],
                "indexes": [models.Index(fields=["run_id", "step"], name="ledger_by_run")],
            },
        ),
        migrations.CreateModel(
            name="RejectedRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "line",
                    models.PositiveIntegerField(
                        help_text="Line of the file; the header is line 1."
                    ),
                ),
                ("values", models.JSONField()),
                ("reasons", models.JSONField(help_text="At least one text.")),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rejected",
                        to="imports.sourcefile",
                    ),
                ),
            ],
            options={
                "ordering": ["source", "line"],
                "constraints": [
                    models.UniqueConstraint(fields=("source", "line"), name="rejected_row_once")
                ],
            },
        ),
    ]
