"""What a transaction holds that stores how far an operation and its host are."""

from tendhost.server.domain.hosts.host import Host
from tendhost.server.domain.transitions import OperationState
from tendhost.server.store.records import Change


def operation_change(state: OperationState, host: Host) -> Change:
    """The transaction that stores `state`; `host` is the host as it is stored."""
    changed = (state.host,) if state.host != host else ()
    return Change(events=state.events, hosts=changed, operations=(state.operation,))
