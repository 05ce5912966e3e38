"""Checks raw osquery queries: one statement that reads and changes nothing."""

import re
from collections.abc import Mapping
from typing import Final

from tendhost.server.packages.errors import PackageError

MAX_SQL_LENGTH: Final = 10_000
"""The longest raw query, in characters."""

REFUSED_TABLES: Final[Mapping[str, str]] = {
    "curl": "it sends requests to any address",
    "curl_certificate": "it connects to any address",
    "carves": "it copies files off the host",
    "yara": "it reads any file in full, and downloads rules from any address",
    "yara_file": "it reads any file in full, and downloads rules from any address",
    "yara_process": "it reads the memory of processes",
    "prometheus_metrics": "it sends requests",
    "ec2_instance_metadata": "it sends requests",
    "ec2_instance_tags": "it sends requests",
    "azure_instance_metadata": "it sends requests",
    "azure_instance_tags": "it sends requests",
}
"""Tables of osquery that do more than look at the host, and what."""

REFUSED_FUNCTIONS: Final[Mapping[str, str]] = {
    "carve": "it copies files off the host",
    "sleep": "it only waits",
}
"""Functions of osquery's SQL likewise."""


class SqlRefused(PackageError):
    """A statement that is not run on a host; `text` says why."""

    text: str
    template = "the query is refused: {text}"


# https://www.sqlite.org/lang_keywords.html has the four ways to quote a name; a string in single
# quotes is one as well where only a name can stand. A comment without an end runs to the end.
_TOKEN = re.compile(
    r"""(?P<space>(?:\s+|--[^\n]*|/\*.*?(?:\*/|\Z))+)
    |(?P<string>'(?:[^']|'')*')
    |(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<word>[^\W\d][\w$]*)
    |(?P<number>\d[\w.]*)
    |(?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
_CHANGING = frozenset({"into", "update", "delete", "attach", "detach"})
_BEFORE_A_TEXT = re.compile(
    r"[=<>|+*/%&~-]|like|glob|regexp|match|is|not|and|or|between|when|then|else|as|select|escape"
    r"|where|on|having"
)
"""After these, single quotes hold a text."""
_TABLE_INFO = re.compile(r"pragma table_info ?\( ?[\w$]+ ?\)\Z", re.IGNORECASE)


def checked_sql(sql: str) -> str:
    """The one statement in `sql`, without comments and final semicolon. Raises SqlRefused.

    Only select, with, explain of either, and pragma table_info are let through; osqueryi itself would
    deny most others, but not writes to the tables of extensions. What is refused is what changes or
    sends something, not what is secret: osquery reads whatever root can read.
    """
    if len(sql) > MAX_SQL_LENGTH:
        raise SqlRefused(text=f"it is longer than {MAX_SQL_LENGTH} characters")
    if any(
        (ord(char) < 32 and char not in "\t\r\n") or 0xD800 <= ord(char) < 0xE000 for char in sql
    ):
        raise SqlRefused(text="it has a control character")
    pieces = [
        (match.lastgroup or "", match[0]) for match in _TOKEN.finditer(sql) if match.lastgroup
    ]
    text = "".join(" " if kind == "space" else piece for kind, piece in pieces)
    text = text.strip("; ")
    meant = [(kind, piece) for kind, piece in pieces if kind != "space"]
    while meant and meant[-1] == ("sign", ";"):
        meant.pop()
    if ("sign", ";") in meant:
        raise SqlRefused(text="it has more than one statement")
    for kind, piece in meant:
        if kind == "sign" and piece in "'\"`[":
            raise SqlRefused(text=f"a quote ({piece}) is not closed")
    words = [piece.lower() if kind == "word" else "" for kind, piece in meant]
    if _TABLE_INFO.match(text):
        return text
    if words[:3] == ["explain", "query", "plan"]:
        words[:3] = []
    elif words[:1] == ["explain"]:
        words[:1] = []
    if words[:1] not in (["select"], ["with"]):
        raise SqlRefused(text="expected a select, with, explain or pragma table_info statement")
    _refuse_names(meant)
    return text


def _refuse_names(meant: list[tuple[str, str]]) -> None:
    """Raises SqlRefused for what changes something, and for tables and functions that are refused.

    Single quotes hold a text, and no name, among the arguments of a function and the values after
    `in`: within parentheses that follow another word than from or join and begin with no query.
    """
    before = ""
    values: list[bool] = []
    for kind, piece in meant:
        name = piece.lower()[1:-1] if kind in ("name", "string") else piece.lower()
        if kind == "word" and name in _CHANGING:
            raise SqlRefused(text=f"{name} is not allowed: only statements that read are")
        if before == "(" and name in ("select", "with", "values"):
            values[-1] = False
        text = _BEFORE_A_TEXT.fullmatch(before) or (values and values[-1])
        why = REFUSED_TABLES.get(name) or REFUSED_FUNCTIONS.get(name)
        if why and not (kind == "string" and text):
            raise SqlRefused(text=f"{name} is not allowed: {why}")
        if piece == "(":
            values.append(before.isidentifier() and before not in ("from", "join"))
        elif piece == ")" and values:
            values.pop()
        before = name if kind in ("word", "sign") else ""
