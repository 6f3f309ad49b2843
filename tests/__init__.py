"""The promises fluxio and fluxio_django make, each as a test; the folders mirror the packages."""
