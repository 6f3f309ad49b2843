"""How a peer's program is talked to: see the module text of `benchmarks.peers`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping

DATABASE_URL = os.environ.get("PEER_DATABASE_URL", "")
REDIS_URL = os.environ.get("FLUXIO_BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
RUNS, STEPS = 20, 10
MANY, AT_ONCE = 100, 50
STAGES, SIZE = 100, 10 * 1024
BRANCHES = 100


def serve(workloads: Mapping[str, Callable[[], float]]) -> None:
    """Answer until standard input ends; what others print to standard output goes elsewhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(list(workloads)), file=answers, flush=True)
    for line in sys.stdin:
        print(workloads[line.strip()](), file=answers, flush=True)
