"""The one door to a shell: every value that stands in a script passes it, and is one word there whatever it holds.

POSIX sh takes what stands between single quotes as it is (Shell Command Language, 2.2.2). Nothing else of the server
quotes for a shell, nor imports shlex: ruff forbids that, and tests/unit/packages/test_quoting.py gives a hostile value
to every function that makes a script.
"""

import re
import shlex
from collections.abc import Iterable

# A shell ends a word at NUL or drops it, and a lone surrogate has no bytes: neither can be told apart from others then.
_IN_NO_WORD = re.compile("[\0\ud800-\udfff]")


def quoted(text: str) -> str:
    """`text` as one word for sh; "\\N{REPLACEMENT CHARACTER}" stands for what no word can hold."""
    return shlex.quote(_IN_NO_WORD.sub("\ufffd", text))


def quoted_words(words: Iterable[str]) -> str:
    """Each of `words` as one word for sh, with blanks between them. A word may still be read as an option."""
    return " ".join(map(quoted, words))
