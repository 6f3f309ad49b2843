"""The pipelines that are killed, frozen and starved."""

from collections.abc import Mapping, Sequence

from tests.durability.harness.plans import Choice, Fan, Inner, Kind, Node, Step

TOPOLOGIES: Mapping[str, Sequence[Node]] = {
    "linear": [
        Step("reserve"),
        Step("charge", Kind.FLAKY),
        Step("book", Kind.BOOKING),
        Step("ship"),
        Step("thank", Kind.PLAIN),
    ],
    # Only plain stages, so that no event loop is needed.
    "plain": [
        Step("reserve", Kind.PLAIN),
        Step("book", Kind.BOOKING),
        Choice(
            "pick",
            {
                "near": [Step("walk", Kind.PLAIN)],
                "far": [Step("drive", Kind.PLAIN), Step("fuel", Kind.BOOKING)],
            },
            Kind.PLAIN,
        ),
        Fan("tell", [[Step("post", Kind.PLAIN)], [Step("mail", Kind.PLAIN)]]),
    ],
    "parallel": [
        Step("reserve"),
        Fan(
            "fan",
            [
                [Step("left")],
                [Step("book", Kind.BOOKING), Step("after")],
                [Step("top"), Fan("deep", [[Step("one")], [Step("two", Kind.BOOKING)]])],
            ],
        ),
        Step("join"),
    ],
    "routed": [
        Choice(
            "pick",
            {
                "small": [Step("light")],
                "big": [
                    Step("heavy", Kind.BOOKING),
                    Choice("turn", {"up": [Step("rise")], "down": [Step("sink", Kind.BOOKING)]}),
                ],
            },
        ),
        Inner(
            "inner",
            [
                Step("open"),
                Fan("fan", [[Choice("way", {"a": [Step("x")], "b": [Step("y")]})], [Step("z")]]),
            ],
        ),
        Step("close", Kind.BOOKING),
    ],
    "stream": [
        Step("reserve"),
        Step("words", Kind.STREAM),
        Step("book", Kind.BOOKING),
        Fan("fan", [[Step("more", Kind.STREAM)], [Step("less")]]),
    ],
    "background": [
        Step("reserve"),
        Fan("aside", [[Step("mail"), Step("audit", Kind.BOOKING)], [Step("ping")]], True),
        Step("book", Kind.BOOKING),
        Step("ship"),
    ],
}
