"""Waiting for a store that cannot be used, and the rounds of a loop that fails."""

import asyncio
import logging
from datetime import timedelta

import pytest

from tendhost.server.domain.request_errors import StoreUnavailable
from tendhost.server.engine.tasks import TaskSet
from tendhost.server.engine.waiting import repeat_every, retry_while_unavailable

logger = logging.getLogger(__name__)


class Outage:
    """Work that fails so many times before it succeeds."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.left = failures
        self.error = error or StoreUnavailable(cause="the disk is full")
        self.slept: list[float] = []

    async def work(self) -> str:
        if self.left:
            self.left -= 1
            raise self.error
        return "done"

    async def sleep(self, duration: timedelta) -> None:
        self.slept.append(duration.total_seconds())


async def test_retry__doubles_its_pauses_up_to_the_longest() -> None:
    outage = Outage(4)
    pause, longest = timedelta(seconds=1), timedelta(seconds=5)
    found = await retry_while_unavailable(
        outage.work,
        sleep=outage.sleep,
        logger=logger,
        waiting="work waits",
        pause=pause,
        longest=longest,
    )
    assert found == "done"
    assert outage.slept == [1, 2, 4, 5]


async def test_retry__tells_what_waits_and_why(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(1)
    await retry_while_unavailable(
        outage.work, sleep=outage.sleep, logger=logger, waiting="work waits", host="web1"
    )
    (record,) = caplog.records
    assert (record.message, record.__dict__["host"]) == ("work waits", "web1")
    assert record.__dict__["cause"] == "the disk is full"


async def test_retry__leaves_other_errors_to_its_caller() -> None:
    outage = Outage(1, ValueError("a fault"))
    with pytest.raises(ValueError, match="a fault"):
        await retry_while_unavailable(
            outage.work, sleep=outage.sleep, logger=logger, waiting="work waits"
        )
    assert outage.slept == []


@pytest.mark.parametrize("error", [StoreUnavailable(cause="the disk is full"), ValueError("bad")])
async def test_repetition__goes_on_after_a_failure(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = 0

    class Clock:
        async def sleep(self, duration: timedelta) -> None:
            assert duration == timedelta(hours=1)
            if rounds == 3:
                raise asyncio.CancelledError

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            raise error

    with pytest.raises(asyncio.CancelledError):
        await repeat_every(
            timedelta(hours=1),
            work,
            clock=Clock(),  # type: ignore[arg-type]  # it only sleeps
            logger=logger,
            failed="work was not done",
        )
    assert rounds == 3
    assert [record.message for record in caplog.records] == ["work was not done"]


async def test_task_set__cancels_what_runs_and_waits_for_it() -> None:
    ended = []

    async def work(name: str, release: asyncio.Event) -> None:
        try:
            await release.wait()
        finally:
            ended.append(name)

    tasks: TaskSet[None] = TaskSet()
    released = asyncio.Event()
    released.set()
    await tasks.start(work("released", released))
    tasks.start(work("held", asyncio.Event()))
    await asyncio.sleep(0)
    assert ended == ["released"]
    await tasks.cancel()
    assert ended == ["released", "held"]
