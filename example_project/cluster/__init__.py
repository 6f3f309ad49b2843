"""The example on several processes, which `make cluster` starts and kills."""
