"""The server's log: one line a record, whatever hosts and clients have a say in."""

import logging

import pytest

from tendhost.server.log import LineFormatter


def printed(message: str, *arguments: str, **extra: str) -> str:
    logger = logging.getLogger("tendhost.test")
    record = logger.makeRecord(
        logger.name, logging.INFO, "file", 1, message, arguments, None, extra=extra
    )
    return LineFormatter("%(name)s: %(message)s").format(record)


@pytest.mark.parametrize(
    "text", ["two\nlines", "\x1b[2Jcleared", "\x9b5A", "turned\u202eround", "cut\rover", "\u2028"]
)
def test_record__is_one_line_that_steers_no_terminal(text: str) -> None:
    assert printed("the host said it", problem=text).isprintable()


def test_value__stands_as_python_writes_it() -> None:
    shown = printed("the host failed", host="a\nb", problem="über \x1b[31m")
    assert shown == r"tendhost.test: the host failed host=a\nb problem=über \x1b[31m"
