"""One table holds what every step is like, and says what nine sets kept by hand had said."""

from tendhost.server.domain.operations import step_traits as traits
from tendhost.server.domain.operations.permission import ChangeKind
from tendhost.server.domain.operations.step_traits import STEP_OF_JOB, STEP_TRAITS
from tendhost.server.domain.operations.step_traits import StepName as N


def test_step_traits__every_step_has_them() -> None:
    assert set(STEP_TRAITS) == set(N)


def test_step_traits__steps_before_the_change_change_nothing() -> None:
    assert {
        N.CONNECT,
        N.PREFLIGHT,
        N.LIST,
        N.PRE_HOOK,
        N.DOWNLOAD,
        N.SNAPSHOT,
    } == traits.BEFORE_CHANGE
    assert not traits.BEFORE_CHANGE & traits.CHANGING


def test_step_traits__steps_that_change_the_host() -> None:
    assert {N.APPLY, N.COMPOSE, N.REBOOT, N.RESTART_SERVICES} == traits.CHANGING
    assert {N.APPLY, N.COMPOSE} == traits.REPLACING
    assert {
        N.PREFLIGHT,
        N.APPLY,
        N.COMPOSE,
        N.REBOOT,
        N.RESTART_SERVICES,
    } == traits.REFUSABLE


def test_step_traits__steps_around_verify() -> None:
    assert {N.REBOOT_CHECK, N.REBOOT, N.RESTART_SERVICES} == traits.BEFORE_VERIFY
    assert {
        N.APPLY,
        N.COMPOSE,
        N.REBOOT_CHECK,
        N.REBOOT,
        N.RESTART_SERVICES,
        N.VERIFY,
        N.POST_HOOK,
    } == traits.AFTER_CHANGE_BEGAN


def test_step_traits__steps_whose_end_is_waited_for() -> None:
    assert {N.PRE_HOOK, N.APPLY, N.COMPOSE, N.POST_HOOK, N.ROLLBACK} == traits.UNINTERRUPTIBLE


def test_step_traits__steps_that_only_look() -> None:
    """That LIST is not stored before it begins, nor CONNECT, which no step comes before."""
    assert {N.CONNECT, N.LIST} == traits.READING


def test_step_traits__steps_that_move_the_host() -> None:
    assert {N.CONNECT, N.REBOOT} == traits.CONNECTING
    assert {
        N.APPLY,
        N.COMPOSE,
        N.REBOOT_CHECK,
        N.RESTART_SERVICES,
        N.ROLLBACK,
    } == traits.TAKING


def test_step_traits__every_kind_of_job_has_one_step() -> None:
    directly = {ChangeKind.REBOOT, ChangeKind.RESTART_SERVICES, ChangeKind.SNAPSHOT}
    assert set(STEP_OF_JOB) == set(ChangeKind) - directly
    assert sum(len(each.jobs) for each in STEP_TRAITS.values()) == len(STEP_OF_JOB)


def test_step_traits__folders_of_these_jobs_stay_until_the_end() -> None:
    staying = {kind for kind, step in STEP_OF_JOB.items() if STEP_TRAITS[step].job_folder_stays}
    assert staying == {
        ChangeKind.PRE_HOOK,
        ChangeKind.POST_HOOK,
        ChangeKind.ROLLBACK,
        ChangeKind.UNDO,
    }
