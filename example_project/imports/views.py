"""The page on which a file is uploaded and its import is watched."""

from typing import Any

from example_project.imports.forms import UploadForm
from example_project.imports.uploads import keep
from fluxio_django.views import PipelineFormView


class ImportAirports(PipelineFormView):
    """Upload a CSV file and watch what becomes of it."""

    pipeline = "imports.airports"
    form_class = UploadForm
    base_template = "orders/base.html"
    shows = ("summary", "countries", "time_zones")
    refresh_seconds = 1

    def initial_context(self, form: UploadForm) -> dict[str, Any]:
        """Where the file is; the file itself is too large for a context."""
        return {"path": str(keep(form.cleaned_data["file"]))}
