"""Which operations a server has stored without an event, told to the others in its row of `commits`.

Such commits reach no revision, so that nobody hears of them by the counter; output that a client follows on another
server is stored by them.
"""

import json
from collections import deque
from collections.abc import Collection, Mapping

MOST = 256
"""Operations in one row. Of more that are stored between two looks of the others, followers hear with their
next look at the operation."""


class QuietCommits:
    """What this server's last commits have stored, by the number of the transaction."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, str]] = deque(maxlen=MOST)

    def add(self, sequence: int, operations: Collection[str]) -> None:
        """Note what the transaction `sequence` stores."""
        self._recent.extend((sequence, operation) for operation in operations)

    def text(self) -> str:
        """What the others read."""
        return json.dumps(list(self._recent)) if self._recent else ""


class QuietCommitsOfOthers:
    """What was heard of other servers."""

    def __init__(self) -> None:
        self._heard: dict[str, int] = {}

    def news(self, texts: Mapping[str, str]) -> frozenset[str]:
        """The operations of which `texts`, by the server, tell and former ones did not."""
        found: set[str] = set()
        for server, text in texts.items():
            entries = json.loads(text) if text else []
            heard = self._heard.get(server, 0)
            found.update(operation for sequence, operation in entries if sequence > heard)
            self._heard[server] = max([heard, *(sequence for sequence, _ in entries)])
        for server in self._heard.keys() - texts.keys():
            del self._heard[server]
        return frozenset(found)
