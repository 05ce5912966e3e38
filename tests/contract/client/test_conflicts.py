"""retry_on_conflict, and what of the SDK and the command sends etags and tries again."""

import grpc
import pytest

from tendhost.client import Conflict, EtagMismatch, retry_on_conflict
from tendhost.client import transport as transport_module
from tendhost.v1 import host_service_pb2 as pb
from tests.contract.client import messages
from tests.contract.client.mock_server import Refused

CHANGED = Refused(code=grpc.StatusCode.ABORTED, reason="ETAG_MISMATCH", metadata={"current": "e2"})


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """The pauses that were made, none of which took any time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(transport_module, "sleep", sleep)
    return pauses


async def test_retry__ends_with_the_conflict_after_bounded_uneven_pauses(slept):
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        raise EtagMismatch("changed", reason="ETAG_MISMATCH")

    with pytest.raises(Conflict):
        await retry_on_conflict(work)
    assert (tries, len(slept)) == (12, 11)
    assert all(0.02 < pause < 1.6 for pause in slept)
    assert len(set(slept)) == len(slept)


async def test_retry__other_errors_are_not_tried_again(slept):
    async def work() -> None:
        raise KeyError("other")

    with pytest.raises(KeyError):
        await retry_on_conflict(work)
    assert slept == []


async def test_etag_mismatch__has_its_own_type_with_the_present_etag(server, client):
    server.answer("ReconfigureHost", CHANGED)
    with pytest.raises(EtagMismatch) as caught:
        await client.reconfigure_host("web1", add_tags=["a"], etag="e1")
    assert caught.value.metadata["current"] == "e2"
    (request,) = server.requests("ReconfigureHost")
    assert (request.etag, list(request.add_tags)) == ("e1", ["a"])


def test_host_set__reads_again_and_tries_again_where_somebody_else_was_first(
    tendhost, server, slept
):
    read = [messages.host(), messages.host()]
    for number, host in enumerate(read, start=1):
        host.etag = f"e{number}"
    read[1].config.policy.scope.allow_removals = True
    server.answer("GetHost", *(pb.GetHostResponse(host=host) for host in read))
    server.answer("ReconfigureHost", CHANGED, pb.ReconfigureHostResponse(host=messages.host()))
    done = tendhost("host", "set", "web1", "--security", "--add-tag", "a")
    assert (done.status, done.err) == (0, "")
    first, second = server.requests("ReconfigureHost")
    assert (first.etag, second.etag) == ("e1", "e2")
    assert first.request_id != second.request_id
    scope = second.config.policy.scope
    assert (scope.security_only, scope.allow_removals) == (True, True)
    assert list(second.add_tags) == ["a"]


def test_host_set__lists_are_added_to_without_reading_them(tendhost, server):
    server.answer("ReconfigureHost", pb.ReconfigureHostResponse(host=messages.host()))
    done = tendhost(
        *("host", "set", "web1", "--add-tag", "a", "--remove-tag", "b", "--add-group", "g"),
        *("--remove-group", "h", "--add-window", "always", "--remove-window", "sat 01:00-02:00"),
    )
    assert (done.status, done.err) == (0, "")
    (request,) = server.requests("ReconfigureHost")
    assert list(server.calls) == ["ReconfigureHost"]
    assert (list(request.add_tags), list(request.remove_tags)) == (["a"], ["b"])
    assert (list(request.add_groups), list(request.remove_groups)) == (["g"], ["h"])
    assert [window.start for window in request.add_windows] == ["00:00"]
    assert [window.days for window in request.remove_windows] == [[6]]
    assert (list(request.update_mask.paths), request.etag) == ([], "")
