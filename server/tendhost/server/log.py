"""What the server's log looks like: one line a record on stderr, the structured fields behind the message.

Hosts and clients have a say in the fields: what could begin a line of its own, or steer the terminal on which
somebody reads the log, stands there as Python writes it in a string ("\\n", "\\x1b").
"""

import logging
import sys

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


_SENDERS = ("notify-", "webhook")
"""How the names of threads begin in which secrets are sent: libraries log the URLs there."""


def _may_be_told(record: logging.LogRecord) -> bool:
    """Whether a record holds no secret: what libraries say of a URL may, such as a header that urllib3 cannot read."""
    sends = (record.threadName or "").startswith(_SENDERS)
    return not sends or record.name.partition(".")[0] == "tendhost"


class LineFormatter(logging.Formatter):
    """One line a record, and the traceback behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line = super().format(record)
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        head, newline, traceback = line.partition("\n")
        shown = " ".join(f"{key}={value}" for key, value in extra.items())
        lines = "\n".join(map(_escaped, traceback.split("\n")))
        return _escaped(f"{head} {shown}").rstrip() + newline + lines


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in line)


def configure_logging(level: str) -> None:
    """Send records of tendhost at `level` and above to stderr, and warnings of everything else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_may_be_told)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tendhost").setLevel(level.upper())
