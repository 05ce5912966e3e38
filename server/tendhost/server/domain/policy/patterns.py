"""Regular expressions that users write: RE2 matches them in time linear in the text.

Python's `re` backtracks: 27 bytes of an answer and the pattern `(a+)+b` take it a minute, in which it
holds the interpreter, so that nothing else of the server runs and no timeout reaches it.
"""

from functools import lru_cache
from typing import Any

LONGEST_PATTERN = 4096
"""Characters of a pattern."""
MOST_MEMORY = 1 << 20
"""Bytes that RE2 may use for a compiled pattern, an eighth of its own default. A pattern that needs more is
refused; 1 MiB holds a pattern of LONGEST_PATTERN characters without large repetitions."""


class PatternUnusable(ValueError):
    """RE2 does not accept a pattern."""


def require_usable(pattern: str) -> None:
    """Raise PatternUnusable unless `pattern` can be searched for."""
    _compiled(pattern)


def found_in(text: str, pattern: str) -> bool:
    """Whether `pattern` matches anywhere in `text`. Raises PatternUnusable."""
    return _compiled(pattern).search(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    # Imported here: only a server with such a check needs the library.
    import re2

    if len(pattern) > LONGEST_PATTERN:
        raise PatternUnusable(f"must be at most {LONGEST_PATTERN} characters long")
    options = re2.Options()
    options.max_mem = MOST_MEMORY
    options.log_errors = False  # to standard error, where the server's log is
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        raise PatternUnusable(
            f"must be a regular expression in RE2 syntax: {_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(error)
