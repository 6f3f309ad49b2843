"""Two transactional stages that lock the same two rows, each the one first that the other wants."""

import os
from dataclasses import asdict
from functools import partial

from django.db import connections

from fluxio import Context, Pipeline, current_step, stage
from fluxio.nodes import RetryPolicy
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline
from tests.durability.harness.actors import Said
from tests.durability.harness.houses import LEDGER, House
from tests.durability.harness.processes import fork

AMOUNT = 7


def deadlock_trial(house: str, run_id: str, tries: int) -> tuple[list[Said], list[int], list[int]]:
    """Execute both with so many tries each.

    Gives what each said, whose `count` is the number of tries it took, and what is booked of each
    row and of each run.
    """
    rows = [f"{run_id}-left", f"{run_id}-right"]
    fork(lambda: [House(house).book(row, "", 0) for row in rows] and None).wait()
    pipes = [os.pipe() for _ in rows]
    actors = [
        fork(partial(_play, house, f"{run_id}-{number}", wanted, tries, (at[1], other[0])))
        for number, (wanted, at, other) in enumerate(
            [(rows, pipes[0], pipes[1]), (rows[::-1], pipes[1], pipes[0])]
        )
    ]
    said = [Said(**actor.wait().said) for actor in actors]
    for end in (end for pipe in pipes for end in pipe):
        os.close(end)
    booked = fork(lambda: [House(house).booked(row) for row in rows]).wait().said
    runs = [f"{run_id}-{number}" for number in range(len(actors))]
    kept = fork(lambda: [House(house).booked(run) for run in runs]).wait().said
    return said, booked, kept


def _play(
    house: str, run_id: str, rows: list[str], tries: int, pipe: tuple[int, int]
) -> dict[str, object]:
    said = Said()

    def add(row: str) -> None:
        with connections[house].cursor() as cursor:
            cursor.execute(
                f"UPDATE {LEDGER} SET amount = amount + {AMOUNT} WHERE run_id = %s", [row]
            )

    @stage(version="1", transactional=True, retry=RetryPolicy(max_attempts=tries, base_delay=0.0))
    def move(ctx: Context) -> Context:
        said.count = current_step().attempt
        add(rows[0])
        if said.count == 1:
            os.write(pipe[0], b".")
            os.read(pipe[1], 1)
        add(rows[1])
        House(house).book(run_id, current_step().key, AMOUNT)
        return ctx.set("moved", True)

    made = Pipeline([move], durable=True, checkpoint_store=DjangoStore(house))
    pipeline = made.bound_to(DjangoPipeline, name="deadlock", store=lambda: DjangoStore(house))
    try:
        pipeline.invoke_sync({}, run_id=run_id)
    except Exception as error:
        said.error, said.message = type(error).__name__, str(error)
    return asdict(said)
