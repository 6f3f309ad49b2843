from django.conf import settings
from django.db import migrations, models

import fluxio_django.links
from fluxio_django.indexes import AddIndexBesideWriters


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        ("fluxio_django", "0003_version_index"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexBesideWriters(
            model_name="deduplicationkey",
            index=models.Index(fields=["run_id"], name="fluxio_key_by_run"),
        ),
        migrations.AlterField(
            model_name="run",
            name="requested_by",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=fluxio_django.links.set_null_beside_runs,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="requested by",
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="subject_type",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=fluxio_django.links.set_null_beside_runs,
                related_name="+",
                to="contenttypes.contenttype",
                verbose_name="type of subject",
            ),
        ),
    ]
