"""Numbers that are given as options: each is of its kind, or is refused by its name."""

from __future__ import annotations


def check_number(name: str, value: object, unit: str) -> None:
    """Let numbers pass; which of them make sense is for the caller to say.

    Raises:
        TypeError: the value is none, or a bool.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of {unit}; {value!r} is none.")


def check_whole_number(name: str, value: object, unit: str) -> None:
    """Let whole numbers from 1 on pass.

    Raises:
        TypeError: the value is no whole number, or a bool.
        ValueError: it is below 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number of {unit}; {value!r} is none.")
    if value < 1:
        raise ValueError(f"{name} is {value}; give at least 1.")
