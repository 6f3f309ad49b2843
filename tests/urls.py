"""The addresses of the test project."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("fluxio/", include("fluxio_django.urls")),
]
