"""The room where programs run: a pure machine in the middle, and a driver that acts for it."""
