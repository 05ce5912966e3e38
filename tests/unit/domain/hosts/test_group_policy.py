"""What holds for a host of all that its groups and the fleet say, and where it comes from."""

from datetime import UTC, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.group_policy import (
    FLEET,
    GroupPolicy,
    Source,
    Sourced,
    SourceKind,
    effective,
    open_times,
)
from tendhost.server.domain.hosts.host import HostConfig, Policy
from tendhost.server.domain.policy.freezes import FreezePeriod
from tendhost.server.domain.policy.health_checks import HealthCheck, HealthChecks, TcpProbe
from tendhost.server.domain.policy.hooks import Hook, Hooks
from tendhost.server.domain.policy.windows import MaintenanceWindow

HOST = Source(kind=SourceKind.HOST)
DB = Source(kind=SourceKind.GROUP, group="db")
WEB = Source(kind=SourceKind.GROUP, group="web")
THE_FLEET = Source(kind=SourceKind.FLEET)
NOW = datetime(2026, 12, 24, tzinfo=UTC)


def at(hour: int) -> MaintenanceWindow:
    return MaintenanceWindow(start=time(hour), end=time(hour + 1))


def freeze(name: str) -> FreezePeriod:
    return FreezePeriod(name=name, starts_at=NOW, ends_at=NOW + timedelta(days=1))


def tcp(*ports: int, settle: int | None = None) -> HealthChecks:
    checks = tuple(HealthCheck(tcp=TcpProbe(port=port)) for port in ports)
    return HealthChecks(checks=checks, settle=None if settle is None else timedelta(seconds=settle))


def hook(script: str) -> Hook:
    return Hook(script=script)


def said(*defaults: GroupPolicy) -> dict[str, GroupPolicy]:
    return {one.group: one for one in defaults}


def host(*groups: str, **policy) -> HostConfig:
    return HostConfig(name="h", address="h", groups=groups, policy=Policy(**policy))


def parts(found) -> list[tuple[object, Source]]:
    return [(part.value, part.source) for part in found]


def test_a_hosts_own_windows_replace_its_groups_and_these_the_fleets():
    everything = said(
        GroupPolicy(group=FLEET, windows=(at(1),)),
        GroupPolicy(group="db", windows=(at(2), at(3))),
    )
    own = effective(host("db", windows=(at(4),)), everything)
    assert parts(own.windows) == [((at(4),), HOST)]
    grouped = effective(host("db"), everything)
    assert parts(grouped.windows) == [((at(2), at(3)), DB)]
    other = effective(host("web"), everything)
    assert parts(other.windows) == [((at(1),), THE_FLEET)]
    assert effective(host(), {}).windows == ()


def test_windows_of_several_groups_all_have_to_be_open():
    everything = said(
        GroupPolicy(group="web", windows=(MaintenanceWindow(start=time(1), end=time(5)),)),
        GroupPolicy(group="db", windows=(MaintenanceWindow(start=time(4), end=time(8)),)),
        GroupPolicy(group="idle"),
    )
    found = effective(host("web", "idle", "db"), everything)
    assert [part.source for part in found.windows] == [DB, WEB]
    assert found.open_times.next_start(NOW) == NOW + timedelta(hours=4)
    assert not found.open_times.allow(NOW + timedelta(hours=5))


def test_freezes_of_all_of_them_hold_also_for_a_host_with_windows_of_its_own():
    everything = said(
        GroupPolicy(group=FLEET, freezes=(freeze("f"),)),
        GroupPolicy(group="db", freezes=(freeze("d"),)),
        GroupPolicy(group="web", freezes=(freeze("w"),)),
    )
    found = effective(host("db", windows=(at(4),)), everything)
    assert parts(found.freezes) == [(freeze("d"), DB), (freeze("f"), THE_FLEET)]


def test_each_hook_and_the_settling_time_are_those_of_the_nearest_by_themselves():
    everything = said(
        GroupPolicy(
            group=FLEET,
            hooks=Hooks(pre=hook("fleet"), post=hook("fleet")),
            health_checks=tcp(1, settle=1),
        ),
        GroupPolicy(group="web", hooks=Hooks(post=hook("web")), health_checks=tcp(2)),
        GroupPolicy(group="db", hooks=Hooks(post=hook("db")), health_checks=tcp(2, 3, settle=0)),
    )
    found = effective(host("web", "db", health_checks=tcp(3)), everything)
    assert found.pre_hook == Sourced(value=hook("fleet"), source=THE_FLEET)
    assert found.post_hook == Sourced(value=hook("db"), source=DB)
    (own, db, fleet) = (tcp(port).checks[0] for port in (3, 2, 1))
    assert parts(found.checks) == [(own, HOST), (db, DB), (fleet, THE_FLEET)]
    assert found.settle == Sourced(value=timedelta(), source=DB)
    nearest = effective(host("db", hooks=Hooks(pre=hook("own"))), everything)
    assert nearest.pre_hook == Sourced(value=hook("own"), source=HOST)
    assert nearest.hooks == Hooks(pre=hook("own"), post=hook("db"))


hooks = st.builds(Hooks, pre=st.none() | st.just(hook("a")), post=st.none() | st.just(hook("b")))
checks = st.builds(
    lambda ports, settle: tcp(*ports, settle=settle),
    st.lists(st.integers(1, 4), unique=True),
    st.none() | st.integers(0, 3),
)
some_windows = st.lists(st.integers(0, 22).map(at), max_size=2).map(tuple)
some_freezes = st.lists(st.sampled_from("abc").map(freeze), max_size=2).map(tuple)
groups = st.lists(st.sampled_from(["db", "web", "x"]), unique=True).map(tuple)


@st.composite
def fleets(draw) -> dict[str, GroupPolicy]:
    return said(
        *(
            GroupPolicy(
                group=group,
                windows=draw(some_windows),
                freezes=draw(some_freezes),
                hooks=draw(hooks),
                health_checks=draw(checks),
            )
            for group in draw(st.sets(st.sampled_from([FLEET, "db", "web"])))
        )
    )


@given(groups, some_windows, hooks, checks, fleets())
def test_parts_are_what_laying_one_over_the_other_makes(names, windows, own, health, everything):
    config = host(*names, windows=windows, hooks=own, health_checks=health)
    found = effective(config, everything)
    wider = [everything[g] for g in (*sorted(names), FLEET) if g in everything]
    for one in wider:
        own, health = own.over(one.hooks), health.over(one.health_checks)
    assert (found.hooks, found.health_checks) == (own, health)
    assert found.open_times == open_times(windows, names, everything)
    told = [part.value for part in found.freezes]
    assert told == [freeze for one in wider for freeze in one.freezes]


@given(groups, some_windows, fleets())
def test_the_order_in_which_groups_are_named_does_not_matter(names, windows, everything):
    assert open_times(windows, names, everything) == open_times(windows, names[::-1], everything)
