"""What a fake network answers to checks from the server."""

from datetime import timedelta

from tendhost.server.domain.policy.health_checks import HttpProbe
from tendhost.server.domain.policy.health_evaluation import CheckFinding
from tendhost.server.remote.protocol import Tunnel

WELL = CheckFinding(holds=True, words="well")


class FakeProber:
    """Answers what was put in `answers`, by port or URL, one after the other; then the last again."""

    def __init__(self) -> None:
        self.answers: dict[int | str, list[CheckFinding]] = {}
        self.asked: list[tuple[str, int | str]] = []
        self.tunnels: list[Tunnel | None] = []

    async def tcp(
        self, address: str, port: int, *, timeout: timedelta, tunnel: Tunnel | None = None
    ) -> CheckFinding:
        """See Prober."""
        self.tunnels.append(tunnel)
        return self._next(address, port)

    async def http(
        self,
        address: str,
        probe: HttpProbe,
        *,
        timeout: timedelta,
        tunnel: Tunnel | None = None,
    ) -> CheckFinding:
        """See Prober."""
        self.tunnels.append(tunnel)
        return self._next(address, probe.url)

    def close(self) -> None:
        """See Prober."""

    def _next(self, address: str, what: int | str) -> CheckFinding:
        self.asked.append((address, what))
        answers = self.answers.get(what, [WELL])
        return answers.pop(0) if len(answers) > 1 else answers[0]
