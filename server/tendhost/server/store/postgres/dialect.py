"""What the statements and the schema look like to PostgreSQL: all that differs from SQLite's text stands here.

Statements are written so that both databases take them. These replacements are for what has no such form:
numbered parameters, the types of columns, functions that look into JSON, and hints for SQLite's planner.
"""

import re
from functools import lru_cache

_REPLACED: tuple[tuple[str, str], ...] = (
    (r"\?(\d+)", r"$\1"),
    # SQLite takes the left table of a CROSS JOIN first; PostgreSQL's planner knows by its statistics.
    (r"\bCROSS JOIN\b", "JOIN"),
    (r"\s+INDEXED BY \w+", ""),
    (
        r"julianday\(json_extract\((\w+), '\$\.([\w.]+)'\)\) >= julianday\((\$\d+)\)",
        r"CAST(json_extract(\1, '$.\2') AS TIMESTAMPTZ) >= CAST(NULLIF(CAST(\3 AS TEXT), '') AS TIMESTAMPTZ)",
    ),
    (r"\bjson_each\((\$\d+)\)", r"json_array_elements_text(CAST(\1 AS JSON))"),
    (r"\binstr\(", "strpos("),
    # Without a type, what a row was put together of has none that DISTINCT or UNION could compare.
    (r"\bNULL FROM removed_hosts\b", "CAST(NULL AS TEXT) FROM removed_hosts"),
)
_PATH = re.compile(r"\bjson_extract\((\w+), '\$\.([\w.]+)'\)")
_TYPES: tuple[tuple[str, str], ...] = (
    # In the order of the bytes, as SQLite has it, whatever the language of the database is.
    (r"\bTEXT\b(?! COLLATE)", 'TEXT COLLATE "C"'),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bBLOB\b", "BYTEA"),
)
_DEFINITION = re.compile(r"\s*(?:CREATE TABLE|ALTER TABLE)\b")

ESCAPE = "\ue000"
_ESCAPED_NUL, _ESCAPED_ESCAPE = f"{ESCAPE}\ue001", f"{ESCAPE}\ue002"


@lru_cache(1024)
def translated(text: str) -> str:
    """A statement, or a definition of the schema, as PostgreSQL takes it."""
    for pattern, replacement in _REPLACED:
        text = re.sub(pattern, replacement, text)
    text = _PATH.sub(lambda found: _json_path(found[1], found[2]), text)
    if _DEFINITION.match(text):
        for pattern, replacement in _TYPES:
            text = re.sub(pattern, replacement, text)
    return text


def _json_path(column: str, path: str) -> str:
    return f"(CAST({column} AS JSON) #>> '{{{path.replace('.', ',')}}}')"


def stored(value: object) -> object:
    """A parameter. PostgreSQL's texts hold no NUL: one is escaped."""
    if type(value) is str and ("\x00" in value or ESCAPE in value):
        return value.replace(ESCAPE, _ESCAPED_ESCAPE).replace("\x00", _ESCAPED_NUL)
    return value


def read(value: object) -> object:
    """A column, as it was before `stored`."""
    if type(value) is str and ESCAPE in value:
        return value.replace(_ESCAPED_NUL, "\x00").replace(_ESCAPED_ESCAPE, ESCAPE)
    return value
