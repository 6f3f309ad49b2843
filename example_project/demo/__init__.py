"""What `make demo` and `make serve` do."""
