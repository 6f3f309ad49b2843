"""Callbacks that watch runs and can never change them."""
