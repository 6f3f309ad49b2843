"""Pictures of every page of the admin: `python -m tests.screenshots FOLDER` makes them."""
