"""The server's log: one line a record, whatever hosts and clients have a say in."""

import logging
import threading

import pytest

from tendhost.server.log import LineFormatter, configure_logging


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


@pytest.mark.parametrize(
    ("logger", "thread", "told"),
    [
        ("urllib3.connection", "notify-ops", False),
        ("paho", "webhook", False),
        ("tendhost.server", "notify-ops", True),
        ("asyncssh", "MainThread", True),
    ],
)
def test_library__that_sends_what_holds_secrets_is_not_heard(
    logger: str, thread: str, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    former = logging.getLogger().handlers[:]
    try:
        configure_logging("info")
        warn = logging.getLogger(logger).warning
        said = threading.Thread(name=thread, target=warn, args=["x"])
        said.start()
        said.join()
    finally:
        logging.getLogger().handlers[:] = former
    assert bool(capsys.readouterr().err) is told
