"""A rollout that is watched to its end, and steered."""

import grpc
import pytest

from tendhost.client import NotFound
from tendhost.v1 import rollout_service_pb2
from tests.contract.client.messages import advanced, member, rollout
from tests.contract.client.mock_server import LOST, STOPPING, Refused

GONE = Refused(code=grpc.StatusCode.NOT_FOUND, reason="ROLLOUT_NOT_FOUND")


async def test_watch_tells_the_hosts_that_changed_until_the_rollout_has_ended(server, client):
    server.stream(
        "WatchRollout",
        [
            advanced(rollout(), member("a", "IN_PROGRESS"), member("b", "PENDING")),
            advanced(rollout(), member("a", "COMPLETED")),
            advanced(rollout("COMPLETED", completed=1, failed=1), member("b", "FAILED", "why")),
        ],
    )
    updates = [update async for update in client.watch_rollout("ro1")]
    told = [[(m.host, str(m.status)) for m in update.hosts] for update in updates]
    assert told == [
        [("a", "in_progress"), ("b", "pending")],
        [("a", "completed")],
        [("b", "failed")],
    ]
    assert updates[-1].rollout.ended
    assert updates[-1].rollout.progress.failed == 1
    assert len(server.requests("WatchRollout")) == 1


async def test_watch_outlives_breaks_and_a_server_that_stops(server, client):
    server.stream(
        "WatchRollout",
        [advanced(rollout(), member("a", "IN_PROGRESS")), LOST],
        [LOST],
        [advanced(rollout("PAUSED"), member("a", "IN_PROGRESS")), STOPPING],
        [advanced(rollout("COMPLETED", completed=2), member("a", "COMPLETED"))],
    )
    statuses = [str(u.rollout.status) async for u in client.watch_rollout("ro1")]
    assert statuses == ["running", "paused", "completed"]
    assert len(server.requests("WatchRollout")) == 4


async def test_watch_of_a_rollout_that_nobody_knows_fails(server, client):
    server.stream("WatchRollout", [GONE])
    with pytest.raises(NotFound):
        await anext(client.watch_rollout("ro9"))


@pytest.mark.parametrize(
    ("method", "steer", "status"),
    [
        ("PauseRollout", lambda c: c.pause_rollout("ro1"), "PAUSED"),
        ("ResumeRollout", lambda c: c.resume_rollout("ro1"), "RUNNING"),
        ("CancelRollout", lambda c: c.cancel_rollout("ro1"), "CANCELLED"),
    ],
)
async def test_steering_gives_the_rollout_as_it_stands_then(method, steer, status, server, client):
    response = getattr(rollout_service_pb2, f"{method}Response")
    server.answer(method, response(rollout=rollout(status)))
    assert str((await steer(client)).status) == status.lower()
    assert [request.id for request in server.requests(method)] == ["ro1"]
