"""Imports the world's airports from a CSV file, durably."""
