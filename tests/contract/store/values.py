"""Hypothesis strategies for stored values, made from their annotations: a new field is tried at once."""

import enum
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

TEXT = st.text(max_size=20) | st.sampled_from(
    ("", "naïve Straße", "日本", "🐧\x00\n\"'%?", "\u2028")
)
_PLAIN: Mapping[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    bool: st.booleans(),
    # Programs of other languages and PostgreSQL's BIGINT hold no more.
    int: st.integers(min_value=-(2**63), max_value=2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    datetime: st.datetimes(timezones=st.just(UTC)),
    time: st.times(),
    timedelta: st.timedeltas(),
    type(None): st.none(),
}


class Values:
    """Strategies by type, made of those for plain types."""

    def __init__(self, plain: Mapping[Any, st.SearchStrategy[Any]]) -> None:
        self._plain = plain
        self.of = cache(self._of)
        """Any value of a type, whatever its fields' defaults."""

    def _of(self, kind: Any) -> st.SearchStrategy[Any]:
        if kind in self._plain:
            return self._plain[kind]
        if is_dataclass(kind):
            return st.deferred(lambda: self._record_of(kind))  # which may hold one of its own kind
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return st.sampled_from(kind)
        return self._collection_of(get_origin(kind), get_args(kind))

    def _record_of(self, kind: Any) -> st.SearchStrategy[Any]:
        hints = get_type_hints(kind)
        parts = {field.name: self.of(hints[field.name]) for field in fields(kind)}
        return st.fixed_dictionaries(parts).map(lambda given: kind(**given))

    def _collection_of(self, origin: Any, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
        if origin in (Union, types.UnionType):
            return st.one_of(*map(self.of, arguments))
        if origin is tuple and arguments[1:] == (...,):
            return st.lists(self.of(arguments[0]), max_size=3).map(tuple)
        if origin is tuple:
            return st.tuples(*map(self.of, arguments))
        if origin is frozenset:
            return st.frozensets(self.of(arguments[0]))
        assert origin is Mapping, f"no strategy for {origin}"
        return st.dictionaries(*map(self.of, arguments), max_size=3)


values_of = Values(_PLAIN).of
"""Any value of a type, of all that may be stored."""
_ZONES = st.sampled_from((UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))))
hostile_of = Values(
    {
        **_PLAIN,
        str: TEXT | st.text(st.characters(), max_size=8) | st.just("x" * 100_000),
        int: st.integers(min_value=-(2**63), max_value=2**64 - 1),
        float: st.floats(),
        datetime: st.datetimes(timezones=_ZONES),
    }
).of
"""Any value of a type, of all that a store could ever be given, and more."""
