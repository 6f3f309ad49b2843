"""The door for JSON that people and other systems send: bounded before it is built, and strict."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from fluxio.codec.decoding import STRING
from fluxio.codec.limits import InputLimits
from fluxio.errors import DecodingError

_TOKEN = re.compile(
    rf"(?P<string>{STRING})(?P<colon>[ \t\r\n]*+:)?"
    r"|(?P<open>[\[{])|(?P<close>[\]}])"
    r"|(?P<number>-?[0-9][0-9.eE+-]*+)"
    r"|(?P<constant>NaN|-?Infinity)"
    r"|(?P<literal>true|false|null)",
    re.DOTALL,
)

_DEFAULT_LIMITS = InputLimits()


def parse_json(text: str | bytes, limits: InputLimits = _DEFAULT_LIMITS) -> Any:
    """The plain values of a JSON text from outside; nothing in it is ever taken for a tag.

    The text is scanned once before anything is built, so a small text can neither unfold to a large
    structure nor to a deep one. Refused besides: NaN and the infinities, numbers that overflow to
    one, repeated keys, bytes that are no UTF-8.

    Raises:
        DecodingError: the text is refused; `line` and `column` (both from 1) say where.
    """
    if isinstance(text, str):
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    else:
        size = len(text)
    if size > limits.max_bytes:
        raise _error(
            1, 1, f"the text has {size} bytes, {limits.max_bytes} are allowed. Send a smaller one."
        )
    if not isinstance(text, str):
        text = _decoded(text)
    _Scan(text, limits).run()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _error(error.lineno, error.colno, f"this is no JSON ({error.msg}).") from None
    except RecursionError:
        raise _error(1, 1, "the text is nested too deep. Flatten it.") from None


class _Scan:
    """One pass over the tokens of a text, which keeps count but builds nothing."""

    def __init__(self, text: str, limits: InputLimits) -> None:
        self.text = text
        self.limits = limits
        self.nodes = 0
        # The keys met in each open bracket, outermost first; arrays have none.
        self.open: list[set[str]] = []

    def run(self) -> None:
        """Go through the text once.

        Raises:
            DecodingError: a limit is passed, or a token is one we refuse. Mere syntax errors are
                left to the parser.
        """
        for match in _TOKEN.finditer(self.text):
            token, position = match.group(), match.start()
            match match.lastgroup:
                case "colon":
                    self._meet_key(match["string"], position)
                case "close":
                    if not self.open:
                        self._refuse(position, "a bracket closes that was never opened.")
                    self.open.pop()
                case kind:
                    self._meet_value(kind, token, position)

    def _meet_value(self, kind: str | None, token: str, position: int) -> None:
        self.nodes += 1
        if self.nodes > self.limits.max_nodes:
            self._refuse(
                position, f"more than {self.limits.max_nodes} values. Send fewer at a time."
            )
        if kind == "constant":
            self._refuse(position, f"{token} is no JSON. Use null or a text.")
        elif kind == "number":
            self._meet_number(token, position)
        elif kind == "open":
            self.open.append(set())
            if len(self.open) > self.limits.max_depth:
                self._refuse(
                    position, f"nested more than {self.limits.max_depth} levels deep. Flatten it."
                )

    def _meet_number(self, token: str, position: int) -> None:
        if len(token) > self.limits.max_digits:
            self._refuse(
                position,
                f"a number has more than {self.limits.max_digits} characters. Send it as a text.",
            )
        if not token.removeprefix("-").isdigit():
            try:
                number = float(token)
            except ValueError:
                return
            if math.isinf(number):
                self._refuse(position, "a number is too large for a float. Send it as a text.")

    def _meet_key(self, token: str, position: int) -> None:
        if not self.open:
            return
        try:
            key = json.loads(token) if "\\" in token else token[1:-1]
        except json.JSONDecodeError:
            return
        if key in self.open[-1]:
            self._refuse(
                position, f"the key {json.dumps(key[:60])} stands twice in one object. Remove one."
            )
        self.open[-1].add(key)

    def _refuse(self, position: int, reason: str) -> NoReturn:
        line = self.text.count("\n", 0, position) + 1
        column = position - self.text.rfind("\n", 0, position)
        raise _error(line, column, reason)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise _error(line, column, "this is no UTF-8. Send the text as UTF-8.") from None


def _error(line: int, column: int, reason: str) -> DecodingError:
    return DecodingError(
        f"JSON, line {line}, column {column}: {reason}", path="", line=line, column=column
    )
