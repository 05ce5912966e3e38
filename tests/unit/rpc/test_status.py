"""The table from errors to statuses: whole, and each status with the details that its kind calls for."""

import base64
import inspect
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain import host_errors, request_errors
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.request_errors import FieldViolation
from tendhost.server.rpc.status import CODES, DOMAIN, MOST_BYTES, internal_status, status_of
from tendhost.server.store.records import Conflict

ROOTS = {
    TendhostError,
    request_errors.RequestError,
    host_errors.HostError,
    host_errors.NotPermitted,
}
"""Never raised themselves."""
VALUES: dict[str, Any] = {
    "exit_status": 100,
    "limit": 10,
    "seconds": 1.5,
    "cursor": 3,
    "oldest": 5,
    "current": 9,
    "allowed": ("idle", "failed"),
    "required": ("failed",),
}


def every_error(root: type[TendhostError] = TendhostError) -> Iterator[type[TendhostError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from every_error(kind)


def made(kind: type[TendhostError]) -> TendhostError:
    """An error of this kind with something in each of its facts."""
    if kind is request_errors.InvalidArgument:
        return request_errors.InvalidArgument(
            FieldViolation("a", "is bad"), FieldViolation("b", "too")
        )
    names = inspect.signature(kind.__init__).parameters.keys() - {"self", "args", "kwargs"}
    return kind(**{name: VALUES.get(name, f"some {name}") for name in names})


ERRORS = sorted(set(every_error()) - ROOTS, key=lambda kind: kind.__name__)


def details(error: TendhostError) -> list[Any]:
    status = status_of(error)
    return [
        getattr(error_details_pb2, packed.type_url.rpartition(".")[2]).FromString(packed.value)
        for packed in status.details
    ]


def test_every_error_is_in_the_table_and_nothing_else():
    assert {Conflict, request_errors.HostBusy, host_errors.RebootSameBootId} <= set(ERRORS)
    assert set(CODES) == set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_a_status_with_its_reason_and_its_facts(kind: type[TendhostError]):
    error = made(kind)
    status = status_of(error)
    info, *_ = details(error)
    assert (info.domain, info.reason) == (DOMAIN, error.reason)
    assert dict(info.metadata) == dict(error.facts())
    assert status.message == str(error)
    assert status.code == CODES[kind].value[0] != 0


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_a_reason_for_programs_and_words_for_people(kind: type[TendhostError]):
    error = made(kind)
    assert error.reason.isupper()
    assert kind.__doc__
    assert str(error)
    for name, fact in error.facts().items():
        assert name.isidentifier()
        assert isinstance(fact, str)


@pytest.mark.parametrize("kind", ERRORS)
def test_error__is_named_as_its_reason(kind: type[TendhostError]):
    assert "".join(word.capitalize() for word in kind.reason.split("_")) == kind.__name__


def test_reasons__differ():
    reasons = [kind.reason for kind in ERRORS]
    assert sorted(set(reasons)) == sorted(reasons)


def test_every_invalid_field_is_named():
    (_, bad) = details(made(request_errors.InvalidArgument))
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("a", "is bad"),
        ("b", "too"),
    ]


@pytest.mark.parametrize("kind", [request_errors.InvalidTransition, request_errors.HostFailed])
def test_a_state_that_forbids_what_was_asked_is_a_failed_precondition(kind: type[TendhostError]):
    (_, failure) = details(made(kind))
    (violation,) = failure.violations
    assert (violation.type, violation.subject) == ("HOST_STATE", "hosts/some host")


# The same request again meets the same etag: whoever is refused so has to read again.
MAY_TRY_AGAIN = [
    kind
    for kind, code in CODES.items()
    if code.name in ("ABORTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED")
    and kind is not request_errors.EtagMismatch
]


@pytest.mark.parametrize("kind", MAY_TRY_AGAIN)
def test_whoever_may_try_again_is_told_when(kind: type[TendhostError]):
    retry = [d for d in details(made(kind)) if isinstance(d, error_details_pb2.RetryInfo)]
    assert len(retry) == 1
    assert retry[0].retry_delay.seconds > 0


def test_a_fault_that_nobody_foresaw_says_nothing_of_its_inside():
    status = internal_status()
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert len(status.details) == 1


LONG = st.builds(
    lambda text, times: text * times,
    st.text(st.characters(), min_size=1, max_size=8),
    st.sampled_from((1, 100, 5000)),
)


@given(st.data())
def test_status__arrives_whatever_its_error_is_about(data: st.DataObject):
    kind = data.draw(st.sampled_from(ERRORS))
    if kind is request_errors.InvalidArgument:
        violations = st.lists(st.builds(FieldViolation, LONG, LONG), min_size=1, max_size=3)
        times = data.draw(st.sampled_from((1, 50, 400)))
        error: TendhostError = request_errors.InvalidArgument(*data.draw(violations) * times)
    else:
        names = inspect.signature(kind.__init__).parameters.keys() - {"self", "args", "kwargs"}
        error = kind(
            **{name: VALUES[name] if name in VALUES else data.draw(LONG) for name in sorted(names)}
        )
    status = status_of(error)
    sent = len(quote(status.message, safe=_UNQUOTED))
    sent += len(base64.b64encode(status.SerializeToString()))
    assert sent <= MOST_BYTES
    assert status.message


_UNQUOTED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def test_status__says_how_many_invalid_fields_it_does_not_name():
    error = request_errors.InvalidArgument(
        *(FieldViolation(f"config.tags[{n}]", "é" * 70) for n in range(128))
    )
    (_, bad) = details(error)
    *named, last = bad.field_violations
    assert len(named) > 10
    assert [v.field for v in named] == [f"config.tags[{n}]" for n in range(len(named))]
    assert (last.field, last.description) == ("request", f"and {128 - len(named)} more")
    assert str(error).startswith("128 fields are invalid, the first of them: config.tags[0]: ")


def test_status__cuts_a_long_fact_and_keeps_the_others():
    error = request_errors.FleetChanged(plan="p1", changes="x" * 20_000)
    (info,) = details(error)
    assert info.metadata["plan"] == "p1"
    assert info.metadata["changes"].endswith("x…")
    assert status_of(error).message.startswith("the fleet has changed since plan p1")
    assert status_of(error).message.endswith("x…")
