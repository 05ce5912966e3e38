"""Hypothesis strategies for stored values, made from their annotations: a new field is tried at once."""

import enum
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, time, timedelta
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


@cache
def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of the type `kind`, whatever its fields' defaults."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind):
        return st.deferred(lambda: _record_of(kind))  # which may hold one of its own kind
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    return _collection_of(get_origin(kind), get_args(kind))


def _record_of(kind: Any) -> st.SearchStrategy[Any]:

    hints = get_type_hints(kind)
    parts = {field.name: values_of(hints[field.name]) for field in fields(kind)}
    return st.fixed_dictionaries(parts).map(lambda given: kind(**given))


def _collection_of(origin: Any, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values_of, arguments))
    if origin is tuple and arguments[1:] == (...,):
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, arguments))
    if origin is frozenset:
        return st.frozensets(values_of(arguments[0]))
    assert origin is Mapping, f"no strategy for {origin}"
    return st.dictionaries(*map(values_of, arguments), max_size=3)
