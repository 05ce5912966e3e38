"""Every step of an operation has a function that executes it."""

from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.engine.steps.executor import _STEPS


def test_steps__each_is_executed_by_one_function() -> None:
    assert set(_STEPS) == set(StepName)
    assert len(set(_STEPS.values())) == len(StepName)
