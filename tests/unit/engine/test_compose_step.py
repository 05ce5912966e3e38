"""What the outcomes of compose projects mean for an operation."""

import pytest

from tendhost.server.domain.host_errors import ComposeFailed, ComposeRolledBack
from tendhost.server.domain.inventory.compose import ProjectChange, ProjectOutcome
from tendhost.server.engine.steps.compose import _error, _words

Outcome = ProjectOutcome


def changes(*outcomes: ProjectOutcome) -> list[ProjectChange]:
    return [
        ProjectChange(path=f"/opt/{number}", outcome=outcome, problem=f"why {number}")
        for number, outcome in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("outcomes", "kind"),
    [
        ((Outcome.DEFERRED,), None),
        ((Outcome.DEFERRED, Outcome.UPDATED, Outcome.UNCHANGED), None),
        ((Outcome.DEFERRED, Outcome.FAILED), ComposeFailed),
        ((Outcome.DEFERRED, Outcome.ROLLED_BACK), ComposeRolledBack),
    ],
)
def test_deferred_project__fails_no_operation(
    outcomes: tuple[ProjectOutcome, ...], kind: type[ComposeFailed] | None
) -> None:
    error = _error("web1", changes(*outcomes))
    assert (type(error) if error else None) is kind
    assert error is None or "/opt/0" not in str(error)


def test_deferred_project__is_told_with_its_reason() -> None:
    assert _words(changes(Outcome.DEFERRED)) == "compose projects: 1 deferred; /opt/0: why 0"
