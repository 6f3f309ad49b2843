"""The address of the import."""

from django.urls import path

from example_project.imports.views import ImportAirports

app_name = "imports"

urlpatterns = [
    path("", ImportAirports.as_view(), name="start"),
]
