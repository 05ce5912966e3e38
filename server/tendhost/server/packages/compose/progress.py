"""The progress of an update of compose projects, read from the lines that its script prints."""

from tendhost.server.packages.compose.commands import decoded
from tendhost.server.packages.progress import Phase, TransactionProgress


class ComposeLogParser:
    """Takes the log in pieces of any size and hands out the steps that it tells of."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes of a line that is not complete yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[TransactionProgress]:
        """The progress that `data` completes. Lines of other kinds are passed over."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST]
        found = []
        for line in lines:
            match line[:_LONGEST].decode("utf-8", "replace").split("\t", 4):
                case ["compose1", "step", project, step]:
                    path = decoded(project)
                    percent = _PERCENT.get(step, 0.0)
                    found.append(
                        TransactionProgress(
                            phase=Phase.COMPOSE, package=path, percent=percent, text=step
                        )
                    )
        return found


_LONGEST = 64 * 1024
_PERCENT = {"check": 0.0, "pull": 10.0, "up": 50.0, "wait": 70.0, "put_back": 80.0, "prune": 90.0}


class ComposeProgressSource:
    """What a job tells that updates compose projects; see ProgressSource."""

    progress_in_log = True

    def progress_parser(self) -> ComposeLogParser:
        """A fresh parser."""
        return ComposeLogParser()
