"""How late the event loop is, and what it was busy with."""

import logging
import threading
from datetime import timedelta

import pytest

from tendhost.server.engine.loop_monitor import INTERVAL, LATE, STUCK, WINDOW, LoopMonitor


class Times:
    def __init__(self) -> None:
        self.now = 100.0
        self.cpu = 5.0


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def monitor(times: Times) -> LoopMonitor:
    return LoopMonitor(now=lambda: times.now, cpu=lambda: times.cpu)


def beats(monitor: LoopMonitor, times: Times, *lags: float) -> None:
    for lag in lags:
        times.now += INTERVAL + lag
        monitor.beat()


def seconds(monitor: LoopMonitor) -> tuple[float, float]:
    lag = monitor.lag()
    return round(lag.longest.total_seconds(), 6), round(lag.p99.total_seconds(), 6)


def test_lag__is_that_of_the_last_minute(monitor: LoopMonitor, times: Times) -> None:
    assert seconds(monitor) == (0.0, 0.0)
    beats(monitor, times, *[0.001] * 98, 0.002, 0.15)
    assert seconds(monitor) == (0.15, 0.15)
    beats(monitor, times, *[0.001] * 100)
    assert seconds(monitor) == (0.15, 0.002)
    times.now += WINDOW + 1
    assert monitor.lag().longest == timedelta()
    beats(monitor, times, 0.003)
    assert seconds(monitor)[1] > WINDOW - 1, "the minute in which nothing came is itself late"


def test_loop_that_was_late__is_told_once_with_what_ran(
    monitor: LoopMonitor, times: Times, caplog: pytest.LogCaptureFixture
) -> None:
    beats(monitor, times, LATE - 0.01)
    monitor.check()
    assert caplog.records == []
    times.now += INTERVAL + 0.3
    times.cpu += 0.25
    monitor.check()
    monitor.beat()
    monitor.beat()
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "the event loop was late")
    assert (vars(record)["lag_ms"], vars(record)["cpu_ms"]) == (300, 250)
    assert "test_loop_that_was_late__is_told_once_with_what_ran" in vars(record)["running"]


def test_loop_that_does_not_go_on__is_told_while_it_stands(
    monitor: LoopMonitor, times: Times, caplog: pytest.LogCaptureFixture
) -> None:
    times.now += INTERVAL + STUCK + 1
    monitor.check()
    monitor.check()
    (record,) = caplog.records
    assert record.getMessage() == "the event loop is blocked"
    assert vars(record)["lag_ms"] == (STUCK + 1) * 1000


async def test_watching__names_the_function_that_holds_up_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    monitor, caught = LoopMonitor(), threading.Event()
    look = monitor.check

    def noted() -> None:
        look()
        if monitor._caught:
            caught.set()

    monitor.check = noted  # type: ignore[method-assign]

    def holds_up_everything() -> None:
        while not caught.is_set():
            pass

    with monitor.watching():
        holds_up_everything()
        monitor.beat()
    late = [r for r in caplog.records if r.getMessage() == "the event loop was late"]
    assert any("holds_up_everything" in vars(record)["running"] for record in late)
    assert "loop-monitor" not in [thread.name for thread in threading.enumerate()]
