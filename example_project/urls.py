"""The addresses of the example project: the shop, imports, runs as JSON, and the admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("fluxio/", include("fluxio_django.urls")),
    path("imports/", include("example_project.imports.urls")),
    path("", include("example_project.orders.urls")),
]
