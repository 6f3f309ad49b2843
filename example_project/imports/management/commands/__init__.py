"""The command that imports airports."""
