"""How a value is named in the id of a test: the same in each process that collects it."""

import re

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def shown(value: object) -> str:
    """The repr of a value without the place of objects in memory."""
    return _ADDRESS.sub("", repr(value))
