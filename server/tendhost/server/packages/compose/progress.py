"""Progress of an update of compose projects, parsed from the lines that its script prints."""

from tendhost.server.packages.compose.commands import decoded
from tendhost.server.packages.progress import (
    LONGEST_HELD,
    LineParser,
    Phase,
    TransactionProgress,
)

_PERCENT = {
    "check": 0.0,
    "pull": 10.0,
    "up": 50.0,
    "wait": 70.0,
    "rolled_back": 80.0,
    "prune": 90.0,
}


class ComposeLogParser(LineParser):
    """Parses the log of the update script (update_script.py)."""

    longest_line = LONGEST_HELD
    """A line holds a path, in which each byte may take three characters."""

    def parse_line(self, line: str) -> TransactionProgress | None:
        """See LineParser."""
        match line.split("\t", 4):
            case ["compose1", "step", project, step]:
                return TransactionProgress(
                    phase=Phase.COMPOSE,
                    package=decoded(project),
                    percent=_PERCENT.get(step, 0.0),
                    text=step,
                )
        return None


class ComposeProgressSource:
    """The progress of a job that updates compose projects. See ProgressSource."""

    progress_in_log = True

    def progress_parser(self) -> ComposeLogParser:
        """A new parser."""
        return ComposeLogParser()
