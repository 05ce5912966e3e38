"""Etags: equal contents share one, any other content has another, and interleaved changes lose nothing."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.etags import etag_of, require_etag
from tendhost.server.domain.hosts.amendments import LabelChange
from tendhost.server.domain.hosts.host import Host, HostConfig, Policy
from tendhost.server.domain.hosts.reconfiguration import Reconfiguration
from tendhost.server.domain.inventory.inventory import Reboot, RebootNeed
from tendhost.server.domain.policy.windows import MaintenanceWindow, Weekday
from tendhost.server.domain.request_errors import EtagMismatch

AT = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = HostConfig(name="web1", address="web1.example.org")
HOST = Host(config=CONFIG, host_key="ssh-ed25519 AAAA", registered_at=AT)
LABELS = st.lists(st.sampled_from("abcdef"), max_size=4, unique=True).map(tuple)


def test_host__its_etag_changes_with_its_configuration_and_key_alone():
    needed = replace(HOST.status, reboot=Reboot(need=RebootNeed.NEEDED), boot_id="b", healthy=True)
    assert (
        replace(HOST, status=needed, revision=9, registered_at=AT + timedelta(1)).etag == HOST.etag
    )
    others = [
        replace(HOST, host_key="ssh-ed25519 BBBB"),
        replace(HOST, config=replace(CONFIG, tags=("a",))),
        replace(HOST, config=replace(CONFIG, policy=Policy(auto_reboot=True))),
        replace(HOST, config=replace(CONFIG, policy=Policy(auto_reboot=False))),
    ]
    assert len({HOST.etag, *(other.etag for other in others)}) == 5


@given(st.permutations(list(Weekday)))
def test_etag__does_not_depend_on_the_order_of_a_set(days):
    def window(days: object) -> MaintenanceWindow:
        start = time(1)
        return MaintenanceWindow(start=start, end=start, days=frozenset(days))  # type: ignore[call-overload]

    assert etag_of(window(days)) == etag_of(window(list(Weekday)))


def test_require__no_etag_is_no_precondition():
    require_etag("host 'web1'", wanted="", current="x")
    require_etag("host 'web1'", wanted="x", current="x")
    with pytest.raises(EtagMismatch, match="cannot change host 'web1': it has changed"):
        require_etag("host 'web1'", wanted="y", current="x")


@given(LABELS, LABELS, LABELS)
def test_labels__are_those_of_before_with_the_added_and_without_the_removed(former, added, removed):
    removed = tuple(label for label in removed if label not in added)
    wanted = Reconfiguration(
        name="w", config=CONFIG, tags=LabelChange(added=added, removed=removed)
    )
    tags = wanted.of(replace(CONFIG, tags=tuple(sorted(former)))).tags
    assert set(tags) == (set(former) | set(added)) - set(removed)
    assert list(tags) == sorted(tags)


@given(st.data())
def test_interleavings__clients_that_retry_on_a_mismatch_lose_no_update(data):
    """Clients that read, add their own and write with the etag, in any order, end with all of them."""
    stored = HOST
    waiting = {f"c{number}": HOST for number in range(data.draw(st.integers(1, 5)))}
    everyone = set(waiting)
    while waiting:
        client = data.draw(st.sampled_from(sorted(waiting)))
        read = waiting[client]
        tags = (*read.config.tags, client)
        try:
            require_etag("host", wanted=read.etag, current=stored.etag)
        except EtagMismatch:
            waiting[client] = stored
            continue
        stored = replace(stored, config=replace(stored.config, tags=tags))
        del waiting[client]
    assert set(stored.config.tags) == everyone
