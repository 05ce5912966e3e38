"""Errors: their message is made of their facts, and they survive what Python does with exceptions."""

import copy
import importlib
import pickle
import pkgutil
from collections import Counter
from collections.abc import Iterator

import pytest

import tendhost.server
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.host_errors import DatabaseRestored, HookFailed, HostKeyChanged, Timeout
from tendhost.server.domain.request_errors import (
    FieldViolation,
    InvalidArgument,
    InvalidTransition,
    NotAnApprover,
)

ERRORS: list[TendhostError] = [
    Timeout(host="web1", what="apply-1", seconds=1.5),
    HookFailed(host="web1", problem="failed", exit_status=None, output="{host}"),
    HostKeyChanged(host="web1", address="192.0.2.1", pinned="SHA256:a", shown="SHA256:b"),
    NotAnApprover(rollout="r1", by="eve", approvers=("kim", "alex")),
    InvalidArgument(FieldViolation("a", "must be short")),
]


def transition(action: str, state: str) -> InvalidTransition:
    return InvalidTransition(
        host="web1",
        state=state,
        action=action,
        to="idle",
        allowed=("querying",),
        required=("failed",),
    )


def test_message__is_made_of_the_facts():
    timeout, hook, key, approver, _ = ERRORS
    assert str(timeout) == "web1: apply-1 did not end within 1.5 s"
    assert timeout.facts() == {"host": "web1", "what": "apply-1", "seconds": "1.5"}
    assert str(hook) == "web1: the hook failed: {host}"
    assert hook.facts()["exit_status"] == ""
    assert str(key) == (
        "web1 (192.0.2.1): host key changed: pinned SHA256:a, shown SHA256:b; if the host was reinstalled, pin its new"
        " key: tendhost host set web1 --accept-new-host-key"
    )
    assert list(key.facts()) == ["host", "address", "problem", "pinned", "shown"]
    assert str(approver) == "eve may not approve waves of rollout r1; its approvers: kim, alex"


def test_message__of_a_refused_action_says_what_to_do():
    assert str(transition("retry", "idle")) == (
        "cannot retry web1: it is idle; only failed hosts can be retried; query it again: tendhost query web1"
    )
    assert str(transition("query", "updating")) == (
        "cannot query web1: it is updating; try again when its operation has ended: tendhost host show web1"
    )
    assert str(transition("verify", "idle")) == "cannot verify web1: it is idle"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error__is_copied_and_pickled_as_a_whole(error: TendhostError):
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))


def test_error__is_equal_to_itself_only():
    error = DatabaseRestored(host="web1", copied_at="2026-01-01T00:00:00Z")
    assert {error} == {error}
    assert error != DatabaseRestored(host="web1", copied_at="2026-01-01T00:00:00Z")


def test_error__takes_its_facts_by_keyword_only():
    with pytest.raises(TypeError):
        Timeout("web1", "apply-1", 1.5)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Timeout(host="web1", what="apply-1")  # type: ignore[call-arg]


def every_exception(kind: type[BaseException] = BaseException) -> Iterator[type[BaseException]]:
    for sub in kind.__subclasses__():
        if sub.__module__.startswith("tendhost.server"):
            yield sub
        yield from every_exception(sub)


def test_errors__have_each_a_name_of_their_own_in_the_server():
    for module in pkgutil.walk_packages(tendhost.server.__path__, "tendhost.server."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    names = Counter(kind.__name__ for kind in set(every_exception()))
    assert names["HostBusy"] == names["ParseFailed"] == 1
    assert [name for name, count in names.items() if count > 1] == []
