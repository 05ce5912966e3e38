"""What the server's log looks like: one line a record on stderr, the structured fields behind the message."""

import logging
import sys

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        head, newline, traceback = line.partition("\n")
        shown = " ".join(f"{key}={value}" for key, value in extra.items())
        return f"{head} {shown}".rstrip() + newline + traceback


def configure_logging(level: str) -> None:
    """Send records of tendhost at `level` and above to stderr, and warnings of everything else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tendhost").setLevel(level.upper())
