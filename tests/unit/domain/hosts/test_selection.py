"""Which hosts a filter selects."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus
from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.inventory.inventory import Reboot, RebootNeed

WEB1 = Host(
    config=HostConfig(name="web1", address="192.0.2.1", tags=("a", "b"), groups=("g",)),
    host_key="ssh-ed25519 AAAA",
    registered_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    status=HostStatus(state=HostState.WAITING_REBOOT, reboot=Reboot(need=RebootNeed.NEEDED)),
)
ALL = HostFilter(
    names=("web1",),
    name_prefix="web",
    all_tags=("a", "b"),
    any_tags=("b", "c"),
    groups=("g", "h"),
    states=(HostState.WAITING_REBOOT, HostState.FAILED),
    reboot_needed=True,
    also=HostFilter(all_tags=("a",)),
)
"""Every condition there is, and web1 meets each."""


def test_filter__selects_a_host_that_meets_every_condition():
    assert ALL.matches(WEB1)
    assert HostFilter().matches(WEB1)


@pytest.mark.parametrize(
    "unmet",
    [
        {"names": ("web2",)},
        {"name_prefix": "db"},
        {"exclude_hosts": ("web*",)},
        {"all_tags": ("a", "c")},
        {"any_tags": ("c", "d")},
        {"groups": ("h",)},
        {"states": (HostState.IDLE,)},
        {"reboot_needed": False},
        {"also": HostFilter(all_tags=("c",))},
    ],
    ids=lambda unmet: next(iter(unmet)),
)
def test_filter__does_not_select_a_host_that_misses_one_condition(unmet):
    assert not replace(ALL, **unmet).matches(WEB1)
    assert not HostFilter(**unmet).matches(WEB1)
