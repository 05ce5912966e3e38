"""The `tendhost` command, run in this process against a mock server."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tendhost.client.cli import main
from tests.contract.client.mock_server import MockServer


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a run."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document that was printed."""
        return json.loads(self.out)

    @property
    def lines(self) -> Sequence[Any]:
        """The documents that were printed, one on each line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """Call it with the words of a command line."""

    def __init__(self, server: MockServer, captured: pytest.CaptureFixture[str]) -> None:
        self._server = server
        self._captured = captured

    def __call__(self, *words: str) -> Done:
        self._captured.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["--server", self._server.address, *words])
        out, err = self._captured.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(status=ended.value.code, out=out, err=err)
