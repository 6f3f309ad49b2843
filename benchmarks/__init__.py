"""Benchmarks: what a step costs, beside the floor that was measured in the same run."""
