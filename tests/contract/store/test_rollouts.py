"""Rollouts and their members."""

from dataclasses import replace
from datetime import time, timedelta

import pytest

from tendhost.server.domain.hosts.host import Policy, Problem
from tendhost.server.domain.hosts.states import HostState
from tendhost.server.domain.operations.operation import OperationStatus
from tendhost.server.domain.policy.windows import MaintenanceWindow, Weekday
from tendhost.server.domain.request_errors import PlanNotFound, RolloutNotFound
from tendhost.server.domain.rollouts.budgets import Usage
from tendhost.server.domain.rollouts.plan import (
    ExcludedHost,
    Exclusion,
    PlannedHost,
    PlannedHostCondition,
)
from tendhost.server.domain.rollouts.rollout import Member, MemberStatus, RolloutStatus, Wave
from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Conflict, RolloutCursor
from tests.contract.store.samples import (
    A_DAY,
    NOW,
    a_host,
    a_member,
    a_plan,
    a_rollout,
    a_wave,
    an_operation,
    change,
    stored_host,
    stored_operation,
    stored_rollout,
    whole_view,
)


async def test_rollout_reads_as_it_was_stored_with_the_revision_of_its_change(
    store: Store,
) -> None:
    rollout = a_rollout()
    committed = await store.commit(change(rollouts=(rollout,), events=2))
    assert await store.rollout(rollout.id) == replace(rollout, revision=committed.revision)
    assert committed.revision == 2


async def test_rollout_that_never_was_is_not_found(store: Store) -> None:
    with pytest.raises(RolloutNotFound) as caught:
        await store.rollout("ro-unheard-of")
    assert caught.value.rollout == "ro-unheard-of"


async def test_rollout_that_was_changed_since_it_was_read_conflicts(store: Store) -> None:
    read = await stored_rollout(store, a_rollout())
    await stored_rollout(store, replace(read, wave=1))
    with pytest.raises(Conflict, match=read.id):
        await stored_rollout(store, replace(read, status=RolloutStatus.PAUSED))
    assert (await store.rollout(read.id)).status is RolloutStatus.RUNNING


async def test_rollout_is_stored_under_its_id_once(store: Store) -> None:
    first = await stored_rollout(store, a_rollout())
    with pytest.raises(Conflict, match=first.id):
        await stored_rollout(store, replace(first, revision=0, wave=1))
    assert await store.rollout(first.id) == first


async def test_rollouts_are_listed_newest_first_by_status(store: Store) -> None:
    a = await stored_rollout(store, a_rollout(status=RolloutStatus.COMPLETED, ended_at=NOW))
    b = await stored_rollout(store, a_rollout())
    c = await stored_rollout(store, a_rollout(status=RolloutStatus.PAUSED))
    first = await store.rollouts(limit=2)
    assert (first.items, first.more) == ((c, b), True)
    rest = await store.rollouts(before=b.id, limit=2)
    assert (rest.items, rest.more) == ((a,), False)
    wanted = (RolloutStatus.PAUSED, RolloutStatus.COMPLETED)
    assert (await store.rollouts(statuses=wanted, limit=9)).items == (c, a)
    assert (await store.rollouts(statuses=(RolloutStatus.CANCELLED,), limit=9)).items == ()


async def test_members_are_read_in_order_by_status_and_page_by_page(store: Store) -> None:
    rollout = await stored_rollout(store, a_rollout())
    other = await stored_rollout(store, a_rollout())
    failed = MemberStatus.FAILED
    members = tuple(
        a_member(rollout, f"h{9 - n}", n // 2, n, status=failed if n % 2 else MemberStatus.PENDING)
        for n in range(5)
    )
    await store.commit(change(members=(*reversed(members), a_member(other, "h0"))))
    first = await store.members(rollout.id, limit=3)
    assert (first.items, first.more) == (members[:3], True)
    rest = await store.members(rollout.id, after=2, limit=3)
    assert (rest.items, rest.more) == (members[3:], False)
    of_status = await store.members(rollout.id, statuses=(failed,), limit=3)
    assert (of_status.items, of_status.more) == ((members[1], members[3]), False)
    assert await store.member(rollout.id, "h7") == members[2]
    assert await store.member(rollout.id, "unheard-of") is None


async def test_members_and_waves_are_replaced_in_place(store: Store) -> None:
    rollout = await stored_rollout(store, a_rollout())
    member, wave = a_member(rollout, "h0"), a_wave(rollout)
    others = (a_member(rollout, "h1", 0, 1), a_wave(rollout, 1))
    await store.commit(change(members=(member, others[0]), waves=(wave, others[1])))
    failed = replace(member, status=MemberStatus.FAILED, detail="höher")
    begun = replace(wave, started_at=NOW)
    await store.commit(change(members=(failed,), waves=(begun,)))
    assert (await store.members(rollout.id, limit=9)).items == (failed, others[0])
    assert await store.waves(rollout.id, first=0, last=5) == [begun, others[1]]
    assert await store.wave(rollout.id, 1) == others[1]


async def test_view_has_what_was_changed_since_a_revision(store: Store) -> None:
    rollout = await stored_rollout(store, a_rollout())
    members = tuple(a_member(rollout, f"h{n}", 0, n) for n in range(3))
    waves = (a_wave(rollout), a_wave(rollout, 1))
    first = await store.commit(change(members=members, waves=waves))
    whole = await whole_view(store, rollout.id)
    assert (whole.rollout, whole.waves, whole.members) == (rollout, waves, members)
    moved = replace(members[1], status=MemberStatus.COMPLETED)
    begun = replace(waves[0], started_at=NOW)
    await store.commit(change(members=(moved,), waves=(begun,)))
    since = await whole_view(store, rollout.id, after=RolloutCursor.behind(first.revision))
    assert (since.waves, since.members) == ((begun,), (moved,))
    with pytest.raises(RolloutNotFound):
        await whole_view(store, "ro-unheard-of")


async def test_view__comes_in_parts_that_end_with_the_rollout_as_of_one_revision(
    store: Store,
) -> None:
    rollout = await stored_rollout(store, a_rollout())
    members = [a_member(rollout, f"h{n}", 0, n) for n in range(7)]
    waves = tuple(a_wave(rollout, n) for n in range(3))
    await store.commit(change(members=tuple(members), waves=waves))
    place, seen, counted, rounds = RolloutCursor(), dict[str, MemberStatus](), set[int](), 0
    while True:
        view = await store.rollout_view(rollout.id, after=place, limit=2, size=1 << 20)
        assert len(view.members) <= 2
        assert len(view.waves) <= 2
        seen.update((m.host, m.status) for m in view.members if isinstance(m, Member))
        counted.update(wave.number for wave in view.waves if isinstance(wave, Wave))
        if not view.more:
            break
        place, rounds = view.last, rounds + 1
        if rounds <= 3:
            # Of those that were read already, and of those that were not.
            members[rounds] = replace(members[rounds], status=MemberStatus.COMPLETED)
            await store.commit(change(members=(members[rounds],)))
    assert seen == {member.host: member.status for member in members}
    assert counted == {0, 1, 2}
    small = await store.rollout_view(rollout.id, after=RolloutCursor(), limit=99, size=1)
    assert (len(small.members), len(small.waves), small.more) == (1, 1, True)


async def test_startable_are_those_that_nothing_holds_up(store: Store) -> None:
    rollout = await stored_rollout(store, a_rollout())
    waiting = MemberStatus.WAITING
    soon, later = NOW + A_DAY, NOW + 2 * A_DAY
    members = (
        a_member(rollout, "done", 0, 0, status=MemberStatus.COMPLETED),
        a_member(rollout, "soon", 0, 1, status=waiting, not_before=soon),
        a_member(rollout, "later", 0, 2, status=waiting, not_before=later),
        a_member(rollout, "blocked", 0, 3, status=waiting, blocked_by="down:zone=a"),
        a_member(rollout, "busy", 0, 4, status=waiting, blocked_by="host:busy"),
        a_member(rollout, "free", 0, 5),
        a_member(rollout, "next", 1, 6),
    )
    await store.commit(change(members=members))

    async def startable(now, *blocked: str, limit: int = 9) -> list[str]:
        found = await store.startable(rollout.id, 0, now=now, blocked=blocked, limit=limit)
        return [member.host for member in found]

    assert await startable(NOW) == ["blocked", "busy", "free"]
    assert await startable(NOW, "down:zone=a") == ["busy", "free"]
    assert await startable(NOW, "down:zone=a", "host:busy", limit=1) == ["free"]
    assert await startable(soon, "down:zone=a", "host:busy") == ["soon", "free"]
    everybody = (f"host:h{number}" for number in range(40_000))
    assert await startable(NOW, "host:busy", *everybody) == ["blocked", "free"]
    assert set(await store.blocked_by(rollout.id, 0)) == {"down:zone=a", "host:busy"}
    assert await store.next_opening(rollout.id, 0) == soon
    assert await store.next_opening(rollout.id, 1) is None


async def test_usage_counts_running_changes_and_failed_hosts_once_each(store: Store) -> None:
    for name, tag in (("a1", "zone=a"), ("a2", "zone=a"), ("b1", "zone=b"), ("c1", "zone=c")):
        state = HostState.FAILED if name == "b1" else HostState.IDLE
        host = a_host(name, state=state)
        tagged = replace(host, config=replace(host.config, tags=(tag,)))
        await store.commit(change(hosts=(tagged,)))
    await stored_operation(store, an_operation("a1"))
    await stored_operation(store, an_operation("a2", dry_run=True))
    await stored_operation(store, an_operation("b1"))
    await stored_operation(store, an_operation("c1", OperationStatus.QUEUED))
    assert await store.usage("") == Usage(down=2, hosts=4, failed=("b1",), failed_count=1)
    assert await store.usage("zone=a") == Usage(down=1, hosts=2)
    assert await store.usage("zone=b") == Usage(down=1, hosts=1, failed=("b1",), failed_count=1)
    assert await store.usage("zone=c") == Usage(down=0, hosts=1)
    assert await store.usage("zone=unheard-of") == Usage(down=0, hosts=0)
    assert await store.busy_hosts() == {"a1", "a2", "b1"}


async def test_usage__hosts_without_a_tag_of_a_key_count_together(store: Store) -> None:
    tags = {
        "a": ("zone=a",),
        "two": ("zone=a", "zone=b", "web"),
        "plain": ("web", "zones=c", "zone"),
        "empty": ("zone=",),
        "none": (),
    }
    for name, those in tags.items():
        state = HostState.FAILED if name in ("empty", "two") else HostState.IDLE
        host = a_host(name, state=state)
        await store.commit(change(hosts=(replace(host, config=replace(host.config, tags=those)),)))
    await stored_operation(store, an_operation("none"))
    assert await store.usage("zone=") == Usage(down=2, hosts=3, failed=("empty",), failed_count=1)
    assert await store.usage("zone=a") == Usage(down=1, hosts=2, failed=("two",), failed_count=1)
    assert (await store.usage("zones=")).hosts == 4
    assert (await store.usage("rack=")).hosts == 5
    # Whatever becomes of the tags of a host, it counts where its tags say.
    plain = await store.host("plain")
    moved = replace(plain, config=replace(plain.config, tags=("zone=b",)))
    await store.commit(change(hosts=(moved,)))
    assert (await store.usage("zone=")).hosts == 2
    two = await store.host("two")
    await store.commit(change(hosts=(replace(two, config=replace(two.config, tags=())),)))
    assert (await store.usage("zone=")).hosts == 3
    assert (await store.usage("zone=b")).hosts == 1


@pytest.mark.parametrize("fraction", [timedelta(), timedelta(milliseconds=500)])
async def test_usage__hosts_that_failed_before_do_not_count(
    fraction: timedelta, store: Store
) -> None:
    problem = Problem(reason="UPDATE_FAILED", message="dpkg returned 100")
    for name, at in (("a1", NOW), ("a2", NOW + timedelta(seconds=1) + fraction)):
        querying = a_host(name, state=HostState.QUERYING)
        failed = querying.failed(step="apply", problem=problem, now=at)
        await store.commit(change(hosts=(failed,)))
    late = NOW + timedelta(seconds=1) + fraction
    assert (await store.usage("")).failed == ("a1", "a2")
    assert await store.usage("", failed_since=late) == Usage(
        down=1, hosts=2, failed=("a2",), failed_count=1
    )
    await stored_operation(store, an_operation("a1"))
    assert (await store.usage("", failed_since=late)).down == 2


async def test_glances_say_of_every_host_what_a_plan_needs(store: Store) -> None:
    problem = Problem(reason="HOST_UNREACHABLE", message="no answer")
    window = MaintenanceWindow(start=time(22), end=time(4), days=frozenset({Weekday.SATURDAY}))
    config = replace(a_host("b").config, policy=Policy(windows=(window,)))
    gone = a_host("b", last_problem=problem, queried_at=NOW, update_took=A_DAY, last_updated=NOW)
    await store.commit(change(hosts=(replace(gone, config=config),)))
    failed = Problem(reason="PACKAGE_FAILED", message="dpkg broke")
    await stored_host(store, "a", state=HostState.FAILED, last_problem=failed)
    a, b = await store.survey(list)
    assert (a.name, a.state, a.failed_with, a.tags) == (
        "a",
        HostState.FAILED,
        "dpkg broke",
        ("web",),
    )
    assert (b.unreachable, b.windows, b.update_took, b.groups) == (
        True,
        (window,),
        A_DAY,
        ("berlin",),
    )


async def test_plan_reads_as_it_was_kept(store: Store) -> None:
    plan = a_plan(
        "pl-1", hosts=(PlannedHost(name="a", wave=0, conditions=(PlannedHostCondition.BUSY,)),)
    )
    await store.save_plan(plan)
    assert await store.plan("pl-1") == plan
    for read in (store.plan("pl-2"), store.plan_page("pl-2", first=0, last=9)):
        with pytest.raises(PlanNotFound):
            await read


async def test_plan__is_read_page_by_page_across_its_stored_parts(store: Store) -> None:
    hosts = tuple(PlannedHost(name=f"h{n:04}", wave=0) for n in range(620))
    left = tuple(
        ExcludedHost(name=f"x{n:04}", why=Exclusion.FAILED, detail="-") for n in range(280)
    )
    plan = a_plan("pl-1", hosts=hosts, excluded=left)
    await store.save_plan(plan)
    assert await store.plan("pl-1") == plan
    everything = (*hosts, *left)
    for first, last in (
        (0, 50),
        (240, 260),
        (249, 250),
        (250, 251),
        (0, 1000),
        (600, 700),
        (890, 950),
    ):
        outline, part = await store.plan_page("pl-1", first=first, last=last)
        assert outline == plan.outline
        assert part.all == everything[first:last]
    _, beyond = await store.plan_page("pl-1", first=900, last=950)
    assert beyond.all == ()
