"""Mistakes that both type checkers have to find; each line that is wrong says so."""

from fluxio import Context, Pipeline, RetryPolicy, Send, stage
from fluxio_django import pipelines, register


@stage
async def fine(ctx: Context) -> Context:
    return ctx


pipeline = Pipeline([fine])

Pipeline([fine], durable="yes")  # wrong
Pipeline([fine], nmae="typo")  # wrong
stage(timeout="soon")  # wrong
stage(reads=3)  # wrong
RetryPolicy(backoff="quadratic")  # wrong
Send(3)  # wrong
register("orders.checkout", fine)  # wrong
pipelines[3]  # wrong
pipelines["orders.checkout"].enqueue_sync({}, countdown="soon")  # wrong
pipelines["orders.checkout"].invoke_sync()  # wrong


async def use(ctx: Context) -> None:
    ctx["key"] = 1  # wrong
    print(ctx.total)  # wrong
    await pipeline.invoke({}, resume="r")  # wrong
    await pipeline.replay(17)  # wrong
