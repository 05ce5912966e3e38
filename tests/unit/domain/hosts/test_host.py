"""A host: what a look at it changes, what a failure keeps, who may start work on it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tendhost.server.domain.host_errors import Unhealthy
from tendhost.server.domain.hosts.host import Host, HostConfig, HostStatus, Problem
from tendhost.server.domain.hosts.states import HostState, Trigger
from tendhost.server.domain.inventory.inventory import (
    Inventory,
    Observation,
    Pending,
    PendingPackage,
    Reboot,
    RebootNeed,
    SystemFacts,
    Withheld,
)
from tendhost.server.domain.request_errors import HostFailed, InvalidTransition

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
PACKAGES = (
    PendingPackage(name="a", from_version="1", to_version="2", security=True),
    PendingPackage(name="b", from_version="1", to_version="2"),
    PendingPackage(name="c", from_version="1", to_version="2", withheld=Withheld.HELD),
)
PROBLEM = Problem.of(Unhealthy(host="web1", problem="failed units: x.service"))


def host(**status) -> Host:
    return Host(
        config=HostConfig(name="web1", address="192.0.2.1"),
        host_key="ssh-ed25519 AAAA",
        registered_at=NOW,
        status=HostStatus(**status),
    )


def seen(pending: Pending, *, need: RebootNeed = RebootNeed.NOT_NEEDED) -> Observation:
    system = SystemFacts(boot_id="boot-1", os_name="Debian 12")
    return Observation(
        inventory=Inventory(system=system), pending=pending, reboot=Reboot(need=need)
    )


def test_a_look_counts_what_an_update_would_change():
    status = host().observed(seen(Pending(packages=PACKAGES, queried_at=NOW)), NOW).status
    assert (status.pending_count, status.pending_security_count) == (2, 1)
    assert (status.queried_at, status.boot_id, status.os_name) == (NOW, "boot-1", "Debian 12")


def test_a_look_that_could_not_list_the_packages_leaves_the_count_as_it_was():
    known = host(pending_count=2, pending_security_count=1, queried_at=NOW)
    status = known.observed(seen(Pending()), LATER).status
    assert (status.pending_count, status.pending_security_count) == (2, 1)
    assert status.queried_at == NOW
    assert status.boot_id == "boot-1"


def test_the_need_of_a_reboot_is_dated_from_when_it_was_first_seen():
    needy = seen(Pending(queried_at=NOW), need=RebootNeed.NEEDED)
    first = host().observed(needy, NOW)
    assert first.status.reboot.since == NOW
    assert first.observed(needy, LATER).status.reboot.since == NOW
    met = first.observed(seen(Pending(queried_at=LATER)), LATER)
    assert met.status.reboot.since is None


def test_a_reboot_that_somebody_wants_does_not_hide_why_one_is_needed():
    needed = Reboot(need=RebootNeed.NEEDED, reason="the kernel asks for it", since=NOW)
    ordered = host(reboot=needed).reboot_ordered(reason="asked for", now=LATER)
    assert ordered.status.reboot == needed
    wanted = host().reboot_ordered(reason="asked for", now=LATER).status.reboot
    assert wanted == Reboot(need=RebootNeed.NEEDED, reason="asked for", since=LATER)


@pytest.mark.parametrize(
    ("pending", "need", "state"),
    [
        (0, RebootNeed.NOT_NEEDED, HostState.IDLE),
        (0, RebootNeed.UNKNOWN, HostState.IDLE),
        (0, RebootNeed.NEEDED, HostState.WAITING_REBOOT),
        (2, RebootNeed.NOT_NEEDED, HostState.PENDING_UPDATES),
        (2, RebootNeed.NEEDED, HostState.PENDING_UPDATES),
    ],
)
def test_a_host_settles_where_its_facts_call_for(pending, need, state):
    busy = host(state=HostState.QUERYING, pending_count=pending, reboot=Reboot(need=need))
    assert busy.settled().status.state is state


def test_a_failure_keeps_what_a_person_needs_to_know():
    failed = host(state=HostState.VERIFYING, retry_count=3).failed(
        step="verify", problem=PROBLEM, now=NOW
    )
    failure = failed.status.failure
    assert failed.status.state is HostState.FAILED
    assert failed.status.last_problem == PROBLEM
    assert failure is not None
    assert (failure.previous_state, failure.step) == (HostState.VERIFYING, "verify")
    assert (failure.failed_at, failure.retry_count) == (NOW, 3)
    assert (failure.acknowledged_by, failure.acknowledged_at) == ("", None)


def test_a_failed_host_takes_no_work_and_says_why():
    failed = host(state=HostState.VERIFYING).failed(step="verify", problem=PROBLEM, now=NOW)
    with pytest.raises(HostFailed, match=r"failed in step 'verify'.*x\.service"):
        failed.require_startable()


@pytest.mark.parametrize("state", [s for s in HostState if s.busy])
def test_a_busy_host_takes_no_other_work(state):
    with pytest.raises(InvalidTransition):
        host(state=state).require_startable()


def test_a_retry_is_counted_and_forgets_the_failure():
    failed = host(state=HostState.VERIFYING).failed(step="verify", problem=PROBLEM, now=NOW)
    retried = failed.retried()
    assert retried.status.state is HostState.IDLE
    assert (retried.status.failure, retried.status.retry_count) == (None, 1)
    assert retried.status.last_problem == PROBLEM
    retried.require_startable()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ssh_key", "/etc/tendhost/key"),
        ("user", "ops"),
        ("port", 2222),
        ("address", "192.0.2.9"),
    ],
)
@pytest.mark.parametrize(("pending", "rest"), [(0, HostState.IDLE), (3, HostState.PENDING_UPDATES)])
def test_other_settings_of_the_login__end_a_failure_of_the_login(setting, value, pending, rest):
    former = host(state=HostState.QUERYING, pending_count=pending).failed(
        step="connect", problem=PROBLEM, now=NOW, at_login=True
    )
    changed = replace(former, config=replace(former.config, **{setting: value}))
    freed = changed.reconfigured(former).status
    assert (freed.state, freed.failure, freed.last_problem) == (rest, None, PROBLEM)
    assert replace(former, host_key="ssh-ed25519 BBBB").reconfigured(former).status == freed


def test_other_settings__end_no_other_failure():
    by_update = host(state=HostState.UPDATING).failed(step="apply", problem=PROBLEM, now=NOW)
    by_login = host(state=HostState.QUERYING).failed(
        step="connect", problem=PROBLEM, now=NOW, at_login=True
    )
    other_key = replace(by_update, config=replace(by_update.config, ssh_key="/etc/key"))
    assert other_key.reconfigured(by_update) == other_key
    tagged = replace(by_login, config=replace(by_login.config, tags=("web",)))
    assert tagged.reconfigured(by_login) == tagged
    assert by_login.reconfigured(by_login) == by_login


def test_an_acknowledged_host_stays_failed_and_keeps_who_has_seen_it():
    failed = host(state=HostState.VERIFYING).failed(step="verify", problem=PROBLEM, now=NOW)
    seen_by = failed.acknowledged(by="alex", now=LATER)
    assert seen_by.status.state is HostState.FAILED
    assert seen_by.status.failure is not None
    assert seen_by.status.failure.acknowledged_by == "alex"
    assert seen_by.status.failure.acknowledged_at == LATER


@pytest.mark.parametrize("state", [s for s in HostState if s is not HostState.FAILED])
@pytest.mark.parametrize("act", [Host.retried, lambda h: h.acknowledged(by="alex", now=NOW)])
def test_only_a_failed_host_is_retried_or_acknowledged(state, act):
    with pytest.raises(InvalidTransition) as caught:
        act(host(state=state))
    assert caught.value.facts()["state"] == str(state)


def test_a_refused_move_names_the_host_and_changes_nothing():
    idle = host()
    with pytest.raises(InvalidTransition, match="web1"):
        idle.after(Trigger.UPDATE)
    assert idle == host()


def test_a_stored_problem_carries_the_errors_reason_words_and_facts():
    assert PROBLEM.reason == "UNHEALTHY"
    assert PROBLEM.message == "web1: unhealthy: failed units: x.service"
    assert PROBLEM.facts == {"host": "web1", "problem": "failed units: x.service"}


def test_success_dates_the_last_update_only_where_it_was_one():
    troubled = replace(host(), status=HostStatus(retry_count=2, last_problem=PROBLEM))
    checked = troubled.succeeded(updated_at=None).status
    assert (checked.last_updated, checked.last_problem, checked.retry_count) == (None, None, 0)
    assert troubled.succeeded(updated_at=NOW).status.last_updated == NOW


def test_a_need_that_a_reboot_did_not_end_is_unknown_and_reboots_no_more():
    reboot = Reboot(need=RebootNeed.NEEDED, reason="running 4.18, installed 5.15")
    needy = replace(seen(Pending(queried_at=NOW)), reboot=reboot)
    before = host(boot_id="boot-0").observed(replace(needy), NOW)
    assert before.status.reboot.need is RebootNeed.NEEDED
    rebooted = replace(
        needy, inventory=replace(needy.inventory, system=SystemFacts(boot_id="boot-2"))
    )
    after = before.observed(rebooted, LATER)
    assert after.status.reboot.need is RebootNeed.UNKNOWN
    assert (
        after.status.reboot.reason
        == "running 4.18, installed 5.15, after a reboot just as before it"
    )


def test_a_look_that_does_not_ask_for_packages_leaves_the_need_of_a_reboot_as_it_was():
    needed = Reboot(need=RebootNeed.NEEDED, reason="the kernel asks for it", since=NOW)
    looked = replace(seen(Pending()), reboot=None)
    assert host(reboot=needed, boot_id="boot-1").observed(looked, LATER).status.reboot == needed
