"""What things are called in Redis, and how long they stay there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """Keys below a prefix, and lifetimes from `ttl` in seconds (None for no limit)."""

    prefix: str
    ttl: float | None

    def run(self, run_id: str) -> str:
        """The key of a run; ids stand last, so no two runs share a key."""
        return f"{self.prefix}:run:{run_id}"

    def manifest(self, pipeline: str, version: str) -> str:
        """The key of a version's manifest; versions hold no colon."""
        return f"{self.prefix}:manifest:{version}:{pipeline}"

    def lifetime(self, lease_seconds: float | None = None) -> float:
        """Seconds a run stays without a write, 0 for ever; at least two leases where it has one."""
        if self.ttl is None:
            return 0
        return self.ttl if lease_seconds is None else max(self.ttl, 2 * lease_seconds)
