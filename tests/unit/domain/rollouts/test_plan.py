"""What a rollout would do, by what is stored of the fleet."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.policy.availability import Availability
from tendhost.server.domain.request_errors import InvalidArgument
from tendhost.server.domain.rollouts.budgets import (
    FLEET,
    Usage,
    in_scope,
    overspent,
    require_sound_budgets,
    room,
    scopes,
    spent,
    spent_message,
    tolerated,
)
from tendhost.server.domain.rollouts.plan import (
    TYPICAL_UPDATE,
    Exclusion,
    HostSummary,
    PlannedHostCondition,
    RolloutPlan,
    concerned,
    plan_changes,
    plan_rollout,
)
from tendhost.server.domain.rollouts.rollout import DisruptionBudget, RolloutProgress, RolloutSpec
from tendhost.server.domain.rollouts.waves import Dependency, Division, Stage

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

glances = st.builds(
    HostSummary,
    name=st.from_regex(r"[a-z]{1,3}[0-9]{1,2}", fullmatch=True),
    tags=st.lists(st.sampled_from(["web", "db", "zone=a", "zone=b"]), unique=True).map(tuple),
    groups=st.lists(st.sampled_from(["prod", "test"]), unique=True).map(tuple),
    state=st.sampled_from(HostState),
    pending_count=st.integers(0, 3),
    queried_at=st.none() | st.just(NOW),
    update_took=st.none() | st.integers(1, 600).map(lambda seconds: timedelta(seconds=seconds)),
)
fleets = st.lists(glances, max_size=30, unique_by=lambda host: host.name)
filters = st.builds(
    HostFilter,
    names=st.sampled_from([(), ("a*",), ("a*", "b?1")]),
    all_tags=st.sampled_from([(), ("web",)]),
    any_tags=st.sampled_from([(), ("db", "zone=a")]),
    groups=st.sampled_from([(), ("prod",)]),
    states=st.sampled_from([(), (HostState.IDLE, HostState.FAILED)]),
)


def plan(fleet, spec=None, **how) -> RolloutPlan:
    given_ = {"id": "pl", "now": NOW, "at_once": 64, "availability": {}, "busy": frozenset(), **how}
    return plan_rollout(spec or RolloutSpec(filter=HostFilter()), fleet, **given_)


@given(fleets, filters, st.sampled_from([("1",), ("2", "rest"), ("30%",)]))
def test_every_host_has_its_place_or_is_left_out_or_is_not_selected(fleet, chosen, waves):
    excluded = tuple(host.name for host in fleet[::7])
    spec = RolloutSpec(
        filter=replace(chosen, exclude_hosts=excluded), division=Division(waves=waves)
    )
    made = plan(fleet, spec)
    placed = [host.name for host in made.hosts]
    left = [host.name for host in made.excluded]
    assert len(set(placed) | set(left)) == len(placed) + len(left)
    assert len(placed) + len(left) + made.not_selected == len(fleet)
    for host in fleet:
        if host.name in placed:
            assert host.state is not HostState.FAILED
            assert host.name not in excluded
    assert [wave.hosts for wave in made.waves] == [
        len([h for h in made.hosts if h.wave == number]) for number in range(len(made.waves))
    ]
    assert [host.wave for host in made.hosts] == sorted(host.wave for host in made.hosts)


def test_whoever_is_left_out_is_told_why():
    fleet = [
        HostSummary(name="a", state=HostState.FAILED, failed_with="dpkg broke"),
        HostSummary(name="b"),
        HostSummary(name="c"),
        HostSummary(name="d"),
    ]
    never = Availability(message="its window never opens")
    later = Availability(until=NOW + MINUTE, message="its window opens later")
    spec = RolloutSpec(filter=HostFilter(exclude_hosts=("b",)))
    made = plan(fleet, spec, availability={"c": never, "d": later})
    assert [(h.name, h.why) for h in made.excluded] == [
        ("a", Exclusion.FAILED),
        ("b", Exclusion.EXCLUDED),
        ("c", Exclusion.NEVER_OPEN),
    ]
    assert made.excluded[0].detail == "it has failed and has to be retried first: dpkg broke"
    (waiting,) = made.hosts
    assert (waiting.conditions, waiting.opens_at) == (
        (PlannedHostCondition.WINDOW_CLOSED,),
        NOW + MINUTE,
    )


def test_hosts_that_are_left_out__have_one_cause_in_the_report_however_long_their_updates_take():
    took = {"a": "0:20:00", "b": "8:00:00"}
    never = {
        name: Availability(message=f"an update, which took {time}, never fits")
        for name, time in took.items()
    }
    made = plan([HostSummary(name="a"), HostSummary(name="b")], availability=never)
    (cause,) = {host.detail.partition(":")[0] for host in made.excluded}
    assert cause == "its windows are never open for as long as its update takes"


def test_what_is_expected_of_a_host_is_told_in_words():
    fleet = [
        HostSummary(name="a", queried_at=NOW, pending_count=0),
        HostSummary(name="b", unreachable=True),
        HostSummary(name="c", pending_count=2, queried_at=NOW),
    ]
    a, b, c = plan(fleet, busy=frozenset("b")).hosts
    assert a.detail == "nothing was pending at the last query, 2026-11-22 12:00 UTC"
    assert b.conditions == (PlannedHostCondition.BUSY, PlannedHostCondition.UNREACHABLE)
    assert (c.conditions, c.detail) == ((), "")


def test_failed_hosts_have_their_place_where_they_are_retried():
    failed = [HostSummary(name=name, state=HostState.FAILED) for name in "ab"]
    made = plan(failed, retry=frozenset("a"))
    assert [host.name for host in made.hosts] == ["a"]
    assert [(host.name, host.why) for host in made.excluded] == [("b", Exclusion.FAILED)]


def test_expected_duration_is_that_of_the_slowest_and_of_what_runs_side_by_side():
    fleet = [HostSummary(name=f"h{n}", update_took=(n + 1) * MINUTE) for n in range(4)]
    spec = RolloutSpec(filter=HostFilter(), division=Division(waves=("1", "rest")))
    made = plan(fleet, spec)
    assert [wave.expected for wave in made.waves] == [MINUTE, 4 * MINUTE]
    assert made.expected == 5 * MINUTE + timedelta(seconds=30)
    one_by_one = plan(fleet, spec, at_once=1)
    assert [wave.expected for wave in one_by_one.waves] == [MINUTE, 9 * MINUTE]


def test_hosts_that_were_never_updated_are_taken_as_the_others_or_as_typical():
    known = [HostSummary(name=f"h{n}", update_took=n * MINUTE) for n in (1, 2, 7)]
    made = plan(
        [*known, HostSummary(name="new")], RolloutSpec(filter=HostFilter(names=("new", "h2")))
    )
    assert (made.waves[0].expected, made.known_durations) == (2 * MINUTE, 1)
    assert plan([HostSummary(name="new")]).waves[0].expected == TYPICAL_UPDATE


def test_host_that_was_registered_again__is_another_one_in_a_plan():
    first = [HostSummary(name="a", registered_at=NOW), HostSummary(name="b", registered_at=NOW)]
    then = [first[0], replace(first[1], registered_at=NOW + MINUTE)]
    assert plan_changes(plan(first), plan(first)) == ()
    assert plan_changes(plan(first), plan(then)) == ("removed and registered again: b",)
    # An older version did not store when its hosts were registered.
    assert plan_changes(plan([HostSummary(name="a"), HostSummary(name="b")]), plan(then)) == ()


# --- refusals and notes ---------------------------------------------------------------------------


def staged(*tags: str, **how: object) -> RolloutSpec:
    division = Division(waves=("1",), stages=tuple(Stage(tag=tag) for tag in tags))
    return RolloutSpec(filter=HostFilter(), division=division, **how)  # type: ignore[arg-type]


FAILED_CANARY = HostSummary(
    name="can", tags=("canary",), state=HostState.FAILED, failed_with="dpkg returned 1"
)


@pytest.mark.parametrize(
    "division",
    [
        Division(stages=(Stage(tag="canary"), Stage(tag="web"))),
        Division(dependencies=(Dependency(before="canary", after="web"),)),
    ],
)
def test_plan__is_refused_with_the_reason_if_every_canary_is_excluded(division):
    fleet = [FAILED_CANARY, HostSummary(name="w", tags=("web",))]
    with pytest.raises(InvalidArgument) as refused:
        plan(fleet, RolloutSpec(filter=HostFilter(), division=division))
    (violation,) = refused.value.violations
    assert violation.description == (
        "none of the selected hosts with the tag 'canary' can be updated: can (it has failed and has to be"
        " retried first: dpkg returned 1)"
    )
    with pytest.raises(InvalidArgument, match="no selected host has the tag 'canary'"):
        plan(fleet[1:], RolloutSpec(filter=HostFilter(), division=division))


def test_plan__goes_on_with_the_canaries_that_can_be_updated():
    fleet = [FAILED_CANARY, HostSummary(name="can2", tags=("canary",))]
    made = plan(fleet, staged("canary"))
    assert ([host.name for host in made.hosts], made.notes) == (["can2"], ())


def test_plan__notes_a_stage_whose_hosts_are_all_in_earlier_ones():
    fleet = [
        HostSummary(name="a", tags=("canary", "web")),
        HostSummary(name="b", tags=("web", "prod")),
        HostSummary(name="c", tags=("canary", "prod")),
        HostSummary(name="d", tags=("db",)),
    ]
    assert plan(fleet, staged("canary", "web", "prod", "db")).notes == (
        "stage prod has no wave: its 2 hosts are in the earlier stages canary, web: c, b",
    )
    assert plan(fleet[:1], staged("canary", "web")).notes == (
        "stage web has no wave: its only host is in the earlier stage canary: a",
    )
    assert plan(fleet, staged("prod", "web", "db")).notes == ()


def test_plan__notes_hosts_without_the_tag_of_a_budget():
    fleet = [HostSummary(name=f"u{n}") for n in range(7)]
    fleet += [HostSummary(name="z", tags=("zone=a",)), HostSummary(name="y", tags=("zone=",))]
    budgets = (DisruptionBudget(limit="1", per_tag="zone"), DisruptionBudget(limit="9"))
    spec = RolloutSpec(filter=HostFilter(), budgets=budgets)
    assert plan(fleet, spec).notes == (
        "8 hosts have no tag zone=…: for '1 per zone', hosts without it count together, as one more zone:"
        " u0, u1, u2, u3, u4 and 3 more",
    )
    twice = replace(spec, budgets=(*budgets, *budgets))
    assert plan(fleet, twice).notes == plan(fleet, spec).notes


def test_plan__notes_whom_the_rollout_does_not_come_to_before_it_expires():
    fleet = [HostSummary(name=name) for name in "abc"]
    late = Availability(until=NOW + 5 * HOUR, message="its window opens 17:00")
    soon = Availability(until=NOW + MINUTE, message="its window opens 12:01")
    spec = RolloutSpec(filter=HostFilter(), division=Division(waves=("1",)), expires_after=HOUR)
    made = plan(fleet, spec, availability={"a": soon, "b": late})
    assert made.notes == (
        "the rollout would expire Sun 2026-11-22 13:00 UTC, and the window of 1 host opens only then or later"
        " (Sun 2026-11-22 17:00 UTC), so that they would be skipped: b",
        "1 host of later waves would be skipped, too, for wave 2 would not end before that: c",
    )
    kinds = {host.name: host.conditions for host in made.hosts}
    assert kinds["b"] == (PlannedHostCondition.WINDOW_CLOSED, PlannedHostCondition.OPENS_TOO_LATE)
    assert kinds["a"] == (PlannedHostCondition.WINDOW_CLOSED,)
    assert made.hosts[1].detail == (
        "its window opens 17:00; the rollout expires before that and skips it"
    )
    for never in (replace(spec, expires_after=None), replace(spec, expires_after=6 * HOUR)):
        assert plan(fleet, never, availability={"a": soon, "b": late}).notes == ()


def test_plan__notes_a_rollout_that_takes_longer_than_it_may():
    fleet = [HostSummary(name=name, update_took=HOUR) for name in "abc"]
    spec = RolloutSpec(filter=HostFilter(), division=Division(waves=("1",)), expires_after=HOUR)
    assert plan(fleet, spec).notes == (
        "the rollout would expire Sun 2026-11-22 13:00 UTC, before its expected end",
    )


def test_an_empty_fleet_has_an_empty_plan():
    assert (plan([]).hosts, plan([]).waves, plan([]).expected) == ((), (), timedelta())


@given(fleets, filters)
def test_a_plan_does_not_differ_from_itself_and_says_each_difference(fleet, chosen):
    spec = RolloutSpec(filter=chosen)
    made = plan(fleet, spec)
    assert plan_changes(made, made) == ()
    if made.hosts:
        smaller = [host for host in fleet if host.name != made.hosts[0].name]
        (first, *_) = plan_changes(made, plan(smaller, spec))
        assert first.startswith(f"no longer in it: {made.hosts[0].name}")


def test_many_differences_are_counted_and_not_all_named():
    fleet = [HostSummary(name=f"h{n:02}") for n in range(15)]
    words = plan_changes(plan([]), plan(fleet))
    assert words == (f"new in it: {', '.join(f'h{n:02}' for n in range(10))} and 5 more",)


# --- budgets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_failures", "total", "expected"),
    [("", 9, None), ("0", 9, 0), ("3", 9, 3), ("10%", 19, 1), ("10%", 9, 0), ("100%", 9, 9)],
)
def test_tolerated_failures_are_rounded_down(max_failures, total, expected):
    assert tolerated(max_failures, RolloutProgress(total_hosts=total, pending=total)) == expected


def test_rolled_back_hosts_are_failures_and_skipped_ones_are_not():
    progress = RolloutProgress(total_hosts=4, pending=0, failed=1, rolled_back=1, skipped=2)
    assert (overspent("1", progress), overspent("2", progress)) == (True, False)


@given(st.integers(0, 50), st.integers(0, 50), st.sampled_from(["1", "3", "10%", "50%", "100%"]))
def test_room_is_what_is_left_and_a_budget_always_lets_one_go_down(down, hosts, limit):
    left = room(DisruptionBudget(limit=limit), Usage(down=down, hosts=hosts))
    assert left >= 1 - down
    if limit.endswith("%"):
        assert left + down == max(1, hosts * int(limit[:-1]) // 100)


def test_a_host_counts_in_each_scope_of_each_budget():
    zone = DisruptionBudget(limit="1", per_tag="zone")
    fleet = DisruptionBudget(limit="2")
    tags = ("web", "zone=a", "zone=b", "zones=c")
    assert scopes(zone, tags) == ("zone=a", "zone=b")
    assert scopes(fleet, tags) == (FLEET,)
    assert scopes(zone, ("web", "zones=c", "zone")) == scopes(zone, ("zone=",)) == ("zone=",)
    budgets = (fleet, zone)
    assert spent(budgets, FLEET, Usage(down=1, hosts=9)) is None
    assert spent(budgets, FLEET, Usage(down=2, hosts=9)) == fleet
    assert spent(budgets, "zone=b", Usage(down=1, hosts=3)) == zone
    assert spent(budgets, "rack=1", Usage(down=3, hosts=3)) is None


tag_sets = st.lists(
    st.sampled_from(["web", "zone", "zone=", "zone=a", "zone=b", "zone=a=", "zones=a", "rack=1"]),
    unique=True,
)


@given(tag_sets, st.sampled_from(["", "zone", "rack", "row"]))
def test_budget__counts_every_host_in_the_scopes_that_have_it(tags, key):
    budget = DisruptionBudget(limit="1", per_tag=key)
    every = {f"{key}={value}" for value in ("", "a", "b", "a=", "1")} if key else {FLEET}
    found = scopes(budget, tags)
    assert found
    assert set(found) == {scope for scope in every if in_scope(scope, tags)}


def test_spent_budget_of_hosts_without_a_tag__says_so():
    budget = DisruptionBudget(limit="1", per_tag="zone")
    usage = Usage(down=1, hosts=4, failed=("u1",), failed_count=1)
    assert spent((budget,), "zone=", usage) == budget
    assert spent_message("zone=", usage, budget) == (
        "1 of 4 hosts without a tag zone=… are down, and at most 1 may be: u1 has failed, and counts until"
        " somebody retries it"
    )


def test_budgets_that_can_never_be_met_or_count_nobody_are_refused_at_once():
    wrong = (
        DisruptionBudget(limit="0"),
        DisruptionBudget(limit="0%", per_tag="rack"),
        DisruptionBudget(limit="few"),
        DisruptionBudget(limit="1", per_tag="zone"),
    )
    with pytest.raises(InvalidArgument) as refused:
        require_sound_budgets(wrong, ["zone=a", "web"])
    assert [violation.field for violation in refused.value.violations] == [
        "max_unavailable[0].limit",
        "max_unavailable[1].limit",
        "max_unavailable[1].per_tag",
        "max_unavailable[2].limit",
    ]


def test_thousands_of_names_are_not_gone_through_for_every_host():
    names = tuple(f"host{number:05}" for number in range(10_000))
    many = [HostSummary(name=name) for name in (*names, "web1", "db1")]
    selection = HostFilter(names=(*names, "w*", "db[2-9]"))
    began = time.process_time()
    chosen = [host.name for host in many if concerned(selection, host)]
    assert chosen == [*names, "web1"]
    assert time.process_time() - began < 10
