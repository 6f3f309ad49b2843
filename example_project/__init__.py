"""A Django project that uses fluxio_django: an import that survives kill -9, and a shop."""
