"""Events of the kind that a busy fleet has most of: operations that get further."""

from datetime import datetime

from tendhost.server.domain.events import Event, OperationChanged
from tendhost.server.domain.operations.operation import OperationKind, OperationStatus
from tendhost.server.domain.operations.step_traits import StepName

_STEPS = tuple(StepName)


def happening(number: int, at: datetime) -> Event:
    """One of many events; the store numbers those that it is given."""
    step = _STEPS[number % len(_STEPS)]
    return Event(
        at=at,
        body=OperationChanged(kind=OperationKind.UPDATE, status=OperationStatus.RUNNING, step=step),
        host=f"host-{number % 200:03}",
        operation=f"01JD3Z8Q6W{number:016}",
    )
