"""A cancellation that another replica has stored: what whoever drives the operation adopts."""

from dataclasses import replace

from tendhost.server.domain.operations.operation import Operation


def with_cancellation(mine: Operation, stored: Operation) -> Operation | None:
    """The operation as its driver has it, with the cancellation that others have stored since.

    None: what was stored is no cancellation, or no new one. While an operation runs, only its driver stores
    anything else of it.
    """
    if (
        stored.status is not mine.status
        or not stored.cancel_requested_by
        or mine.cancel_requested_by
    ):
        return None
    return replace(
        mine,
        cancel_requested_by=stored.cancel_requested_by,
        revision=stored.revision,
        quiet_writes=stored.quiet_writes,
    )
