"""The table of states: every pair, its shape, and the drawing made from it."""

import subprocess
import sys
from itertools import product

import pytest

from tendhost.server.domain.hosts.states import TRANSITIONS, HostState, Trigger, after, allowed_from
from tendhost.server.domain.request_errors import InvalidTransition

S, T = HostState, Trigger

DESIGNED = {
    S.IDLE: {S.QUERYING},
    S.QUERYING: {S.IDLE, S.PENDING_UPDATES, S.WAITING_REBOOT, S.FAILED},
    S.PENDING_UPDATES: {S.QUERYING, S.UPDATING},
    S.UPDATING: {S.PENDING_UPDATES, S.VERIFYING, S.WAITING_REBOOT, S.FAILED, S.IDLE},
    S.WAITING_REBOOT: {S.QUERYING, S.REBOOTING, S.VERIFYING},
    S.REBOOTING: {S.PENDING_UPDATES, S.WAITING_REBOOT, S.VERIFYING, S.FAILED, S.IDLE},
    S.VERIFYING: {S.IDLE, S.PENDING_UPDATES, S.WAITING_REBOOT, S.FAILED},
    S.FAILED: {S.IDLE, S.PENDING_UPDATES, S.WAITING_REBOOT},
}


@pytest.mark.parametrize("state", HostState)
def test_state_leads_to_what_the_design_says(state):
    assert set(allowed_from(state)) == DESIGNED[state]


@pytest.mark.parametrize(("state", "trigger"), list(product(HostState, Trigger)))
def test_every_pair_either_moves_or_is_refused_with_what_is_allowed(state, trigger):
    if (state, trigger) in TRANSITIONS:
        assert after(state, trigger) is TRANSITIONS[state, trigger]
        return
    with pytest.raises(InvalidTransition) as caught:
        after(state, trigger, host="web1")
    facts = caught.value.facts()
    assert facts["state"] == str(state)
    assert facts["action"] == str(trigger)
    assert HostState(facts["to"]) in {
        to for (_, taken), to in TRANSITIONS.items() if taken is trigger
    }
    required = {origin for origin, taken in TRANSITIONS if taken is trigger}
    assert {HostState(s) for s in facts["required"].split(", ")} == required
    assert facts["allowed"].split(", ") == [str(s) for s in allowed_from(state)]
    assert "web1" in str(caught.value)


@pytest.mark.parametrize("trigger", Trigger)
def test_trigger__leads_to_one_state_wherever_it_is_taken(trigger):
    assert len({to for (_, taken), to in TRANSITIONS.items() if taken is trigger}) == 1


def test_a_state_is_its_word():
    assert str(S.PENDING_UPDATES) == "pending_updates"
    assert [str(s) for s in HostState] == [s.name.lower() for s in HostState]


def test_every_state_is_busy_or_resting_or_failed():
    for state in HostState:
        assert [state.busy, state.resting, state is S.FAILED].count(True) == 1


def test_operations_start_from_the_resting_states_only():
    assert {s for (s, t) in TRANSITIONS if t is T.QUERY} == {s for s in S if s.resting}


def test_no_way_leads_from_idle_straight_into_updating():
    assert S.UPDATING not in allowed_from(S.IDLE)


def test_every_busy_state_has_a_way_out_for_work_that_fails():
    for state in (s for s in S if s.busy):
        assert TRANSITIONS[state, T.FAIL] is S.FAILED


def test_the_drawing_in_the_documentation_is_that_of_the_table():
    done = subprocess.run(
        [sys.executable, "scripts/draw_states.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
