"""Which statements write, as far as their text tells."""

from __future__ import annotations

import re

_WRITING = frozenset(
    {
        "INSERT",
        "UPDATE",
        "DELETE",
        "REPLACE",
        "MERGE",
        "TRUNCATE",
        "CREATE",
        "ALTER",
        "DROP",
        "DO",
        "CALL",
        "LOAD",
    }
)
"""DO, CALL and LOAD run or read in what nobody sees; they are not how one reads."""
_CARRYING = frozenset({"WITH", "EXPLAIN", "DESCRIBE", "DESC", "ANALYZE", "BEGIN"})
"""Behind these there may be another statement, which is carried out."""

_VERB = re.compile(r"(?>[\s(]|/\*.*?\*/|--[^\n]*\n)*(\w+)", re.DOTALL)
"""What a statement does: its first word behind brackets and comments."""
_COMMENT = r"(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))"
_QUOTED = r"""'[^']*(?:'|\Z)|"[^"]*(?:"|\Z)|`[^`]*(?:`|\Z)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"""
_TEXT = re.compile(f"{_COMMENT}|{_QUOTED}", re.DOTALL)
_BEHIND_WITH = re.compile(
    r"(?:\bAS\s*(?:(?:NOT\s+)?MATERIALIZED\s*)?\(|\))\s*"
    r"(?:INSERT\s|REPLACE\s+INTO\b|UPDATE\s+\w|DELETE\s+FROM\b|MERGE\s+INTO\b)",
    re.IGNORECASE,
)
"""Where a statement with common table expressions writes: in one of them, or after the last."""
_ANALYZED = re.compile(
    r"[\s(]*(?:(?:EXPLAIN|DESCRIBE|DESC)\s*"
    r"(?:\([^)]*\bANALY[ZS]E\b[^)]*\)|\b(?:VERBOSE\s+)?ANALY[ZS]E\b)|ANALYZE\b)"
    r"(?:\s|VERBOSE\b|FORMAT\s*=\s*\w+)*",
    re.IGNORECASE,
)
"""What makes a server carry a statement out in order to explain it."""
_COMPOUND = re.compile(r"\s*BEGIN\s+NOT\s+ATOMIC\b", re.IGNORECASE)


def writes(sql: str) -> bool:
    """Whether a statement is one that writes.

    What it calls, prepared before or creates by the way (`SELECT ... INTO`) does not show.
    """
    verb = _verb_of(sql)
    if verb in _WRITING:
        return True
    if verb not in _CARRYING and ";" not in sql:
        return False
    return any(_part_writes(part) for part in _without_texts(sql).split(";"))


def _part_writes(part: str) -> bool:
    analyzed = _ANALYZED.match(part)
    carried_out = part if analyzed is None else part[analyzed.end() :]
    verb = _verb_of(carried_out)
    if verb == "WITH":
        return _BEHIND_WITH.search(carried_out) is not None
    return verb in _WRITING or _COMPOUND.match(part) is not None


def _verb_of(sql: str) -> str:
    found = _VERB.match(sql)
    return "" if found is None else found[1].upper()


def _without_texts(sql: str) -> str:
    """The statement without comments, and with a word in place of everything that is quoted."""
    return _TEXT.sub(lambda text: " " if text["comment"] else " quoted ", sql)
