"""The immutable state that travels from stage to stage."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fluxio.errors import MergeConflictError

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Context(Mapping[str, Any]):
    """An immutable mapping of string keys to values that knows which keys were set.

    `set` and `update` give a new context and copy the key table only (copy-on-write, the values are
    shared), so a stage must set a new value rather than change one in place.
    """

    __slots__ = ("_base", "_data", "_name", "_writes")

    _data: Mapping[str, Any]
    _writes: Mapping[str, Any]
    _name: str
    _base: Mapping[str, Any]
    """The values that `_writes` were set upon: those the context had when it was handed over."""

    @classmethod
    def _build(
        cls,
        data: Mapping[str, Any],
        writes: Mapping[str, Any],
        name: str,
        base: Mapping[str, Any] | None = None,
    ) -> Context:
        self = object.__new__(cls)
        _set_data(self, data)
        _set_writes(self, writes)
        _set_name(self, name)
        _set_base(self, data if base is None else base)
        return self

    def __init__(self) -> None:
        raise TypeError("Build a context with Context.create({...}).")

    @classmethod
    def create(cls, data: Mapping[str, Any] | None = None) -> Context:
        """Make a context from a mapping of string keys; nothing counts as written yet.

        Raises:
            TypeError: `data` is no mapping or has a key that is no str.
        """
        return cls._build(_checked({} if data is None else data), _NOTHING, "main")

    @classmethod
    def from_snapshot(
        cls, data: Mapping[str, Any], name: str = "main", written: Iterable[str] = ()
    ) -> Context:
        """Rebuild a context from `snapshot()`; `written` lists the keys that count as set.

        Raises:
            KeyError: `written` names a key that is not in `data`.
        """
        values = _checked(data)
        return cls._build(values, {key: values[key] for key in written}, name)

    @property
    def name(self) -> str:
        """The branch this context belongs to, "main" outside of any."""
        return self._name

    @property
    def written(self) -> frozenset[str]:
        """The keys set since the context was created, forked or handed to a stage."""
        return frozenset(self._writes)

    @property
    def writes(self) -> Mapping[str, Any]:
        """The keys set since then, with their values, in the order they were first set."""
        return MappingProxyType(dict(self._writes))

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` where it was never set."""
        return self._data.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def set(self, key: str, value: Any) -> Context:
        """A new context in which `key` has `value`.

        Raises:
            TypeError: the key is no str.
        """
        if not isinstance(key, str):
            raise TypeError(f"Context keys are str; {key!r} is {type(key).__name__}.")
        return Context._build(
            {**self._data, key: value}, {**self._writes, key: value}, self._name, self._base
        )

    def update(self, values: Mapping[str, Any]) -> Context:
        """A new context in which every key of `values` is set.

        Raises:
            TypeError: `values` is no mapping or has a key that is no str.
        """
        new = _checked(values)
        return Context._build(
            {**self._data, **new}, {**self._writes, **new}, self._name, self._base
        )

    def writes_since(self, given: Context) -> Mapping[str, Any]:
        """What a stage set, seeing that it was given `given` and returned this context.

        For a context that does not descend from it: whatever is set there or differs in identity.
        """
        if self._base is given._data:
            return self._writes
        return {
            key: value
            for key, value in self._data.items()
            if key in self._writes or key not in given._data or given._data[key] is not value
        }

    def extended(self, writes: Mapping[str, Any], *, tracked: bool) -> Context:
        """What the runtime makes of a step's writes, which were checked before.

        `tracked` says whether they count as written, as they do in a branch that is merged later.
        """
        if not writes:
            return self
        kept = {**self._writes, **writes} if tracked else _NOTHING
        return Context._build({**self._data, **writes}, kept, self._name)

    def settled_upon(self, given: Context, writes: Mapping[str, Any]) -> Context:
        """What the next stage is given when `given` was handed out and this came back."""
        if self._base is given._data:
            return Context._build(self._data, _NOTHING, given._name)
        return given.extended(writes, tracked=False)

    def overlaid(self, values: Mapping[str, Any]) -> Context:
        """The context with other values: they count as written only where the key did before."""
        new = _checked(values)
        writes = {key: new.get(key, value) for key, value in self._writes.items()}
        return Context._build({**self._data, **new}, writes, self._name)

    def settled(self) -> Context:
        """The same values with an empty write set: what the next stage is given."""
        return Context._build(self._data, _NOTHING, self._name) if self._writes else self

    def fork(self, name: str) -> Context:
        """A context for a branch: the same values in O(1), an empty write set, its own name."""
        return Context._build(self._data, _NOTHING, name)

    @staticmethod
    def merge(base: Context, branches: Sequence[Context]) -> Context:
        """Bring the writes of forked contexts back into `base`.

        Raises:
            MergeConflictError: two branches wrote the same key, whatever the values.
        """
        writers: dict[str, list[str]] = {}
        for branch in branches:
            for key in branch._writes:
                writers.setdefault(key, []).append(branch._name)
        conflicts = {key: names for key, names in writers.items() if len(names) > 1}
        if conflicts:
            raise merge_conflict(conflicts)
        merged: dict[str, Any] = {}
        for branch in branches:
            merged.update(branch._writes)
        return base.update(merged)

    def snapshot(self) -> dict[str, Any]:
        """An independent dict of all values: changing it changes no context."""
        return {key: copy.deepcopy(value) for key, value in self._data.items()}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"A context is immutable; use ctx.set({name!r}, ...).")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("A context is immutable; keys are set, never removed.")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Context):
            return bool(self._data == other._data)
        return NotImplemented

    def __hash__(self) -> int:
        raise TypeError("A context has values of any type and cannot be hashed.")

    def __repr__(self) -> str:
        return f"<Context {self._name}: {', '.join(self._data) or 'empty'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Context.from_snapshot, (dict(self._data), self._name, tuple(self._writes))


_set_data = Context.__dict__["_data"].__set__
_set_writes = Context.__dict__["_writes"].__set__
_set_name = Context.__dict__["_name"].__set__
_set_base = Context.__dict__["_base"].__set__


class FinalContext(Context):
    """The context a run ended with; `run_id` names the run, also where the id was generated."""

    __slots__ = ("_run_id",)

    _run_id: str

    @classmethod
    def of(cls, context: Context, run_id: str) -> FinalContext:
        """The same values, under the id of their run."""
        final = cls._build(context._data, _NOTHING, context._name)
        assert isinstance(final, FinalContext)
        object.__setattr__(final, "_run_id", run_id)
        return final

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._run_id

    def __reduce__(self) -> tuple[Any, ...]:
        return FinalContext.of, (Context.from_snapshot(dict(self._data), self._name), self._run_id)


def merge_conflict(conflicts: Mapping[str, Sequence[str]]) -> MergeConflictError:
    """The error for keys (mapped to the branches that write them) that meet in one merge."""
    keys = tuple(sorted(conflicts))
    branches = tuple(dict.fromkeys(name for key in keys for name in conflicts[key]))
    return MergeConflictError(
        f"Branches {', '.join(branches)} write the same keys: {', '.join(keys)}. "
        "Let each branch write keys of its own and combine them in the stage after.",
        conflicting_keys=keys,
        branch_names=branches,
    )


def _checked(data: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise TypeError(f"A context is made from a mapping, not from {type(data).__name__}.")
    for key in data:
        if not isinstance(key, str):
            raise TypeError(f"Context keys are str; {key!r} is {type(key).__name__}.")
    return dict(data)
