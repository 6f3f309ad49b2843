"""Stores that fail on purpose, at the call a test chooses."""

from fluxio.testing.faults.fault import Fault, FaultMode, Operation
from fluxio.testing.faults.journal import FaultyJournal
from fluxio.testing.faults.store import FaultyStore

__all__ = ["Fault", "FaultMode", "FaultyJournal", "FaultyStore", "Operation"]
