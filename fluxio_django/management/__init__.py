"""The commands of manage.py: each parses, calls one service and renders what it gave."""
