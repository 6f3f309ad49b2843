"""`python -m example_project.cluster`: works through 200 runs while its processes are killed."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from example_project.cluster.crew import Crew
from example_project.cluster.surroundings import surroundings

_SECONDS_BETWEEN_KILLS = 2
_LONGEST_SECONDS = 600
_LONGEST_STANDSTILL = 120


def main() -> None:
    """Start all that is needed, work and kill, check the books, and stop all that was started."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="half orders, half imports (200)")
    runs = max(2, parser.parse_args().runs)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    folder = Path(tempfile.mkdtemp(prefix="fluxio-cluster-"))
    try:
        with surroundings() as chosen:
            for words in chosen:
                print(words, flush=True)
            faults = _perform(runs, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if faults:
        sys.exit("WRONG: " + "; ".join(faults))


def _perform(runs: int, folder: Path) -> list[str]:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import CommandError, call_command

    from example_project.cluster.books import entries, faults
    from example_project.cluster.work import Work

    call_command("migrate", verbosity=0, interactive=False)
    work = Work(orders=runs - runs // 2, imports=runs // 2, folder=folder)
    product = work.prepare()
    with Crew(settings.DATA_DIR / "cluster.log") as crew:
        print(f"web:      http://127.0.0.1:{crew.port}/\n", flush=True)
        began = time.monotonic()
        next_one = done = moved = 0
        for second in range(_LONGEST_SECONDS):
            # Somewhat more than is done in a second, so that something waits all the time.
            due = min(work.orders, next_one + max(1, runs // 20))
            for number in range(next_one, due):
                work.enqueue(number, product)
            next_one = due
            if done and second % _SECONDS_BETWEEN_KILLS == 0:
                crew.kill_one()
            crew.see_to_worker()
            before = done
            is_open, done = _tell(second, crew)
            moved = second if done != before else moved
            if next_one == work.orders and not is_open:
                break
            if second - moved >= _LONGEST_STANDSTILL:
                print(f"\nNo run has ended for {_LONGEST_STANDSTILL} s, so this ends here.")
                break
            time.sleep(max(0.0, began + second + 1 - time.monotonic()))
        else:
            print(f"\nThere is work left after {_LONGEST_SECONDS} s, so this ends here.")
    print(f"\nKilled on the way: {_listed(crew.killed)}.")
    if crew.replaced:
        print(f"Workers that had lost all their processes and were replaced: {crew.replaced}.")
    print(f"In the books: {entries(work)}.")
    found = faults(work, product)
    try:
        call_command("fluxio_verify")
    except CommandError as problem:
        found.append(str(problem))
    told = f"What the processes said is in {crew.log}."
    print(told if found else "Nothing was lost, and nothing was done twice.", flush=True)
    return found


def _tell(second: int, crew: Crew) -> tuple[int, int]:
    """Print the line of this second; gives how many runs have not ended, and how many have."""
    from django.db.models import Count, Q

    from fluxio_django.models import Run

    states = ("queued", "running", "succeeded", "failed")
    figures = {state: Count("pk", filter=Q(status=state)) for state in states}
    counted = Run.objects.aggregate(**figures, taken=Count("pk", filter=Q(takeovers__gt=0)))
    web = "up" if crew.is_serving() else "DOWN"
    print(
        f"{second:4} s  waiting {counted['queued']:4}  running {counted['running']:2}  "
        f"done {counted['succeeded']:4}  failed {counted['failed']:2}  "
        f"taken over {counted['taken']:3}  killed {_listed(crew.killed)}  web {web}",
        flush=True,
    )
    return counted["queued"] + counted["running"], counted["succeeded"]


def _listed(killed: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in killed.items())


if __name__ == "__main__":
    main()
