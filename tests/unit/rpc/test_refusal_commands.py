"""Refusals name the command that helps: one that exists, with options that it has."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import grpc
import pytest
import typer.main

from tendhost.client.cli.app import app
from tendhost.server.domain import host_errors, request_errors
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.hosts.states import (
    TRANSITIONS,
    HostState,
    Trigger,
    after,
    allowed_from,
)
from tendhost.server.domain.rollouts.rollout import MemberStatus, RolloutStatus
from tendhost.server.domain.schedules.schedule import ScheduleStatus
from tendhost.server.rpc.status import CODES

COMMAND = typer.main.get_command(app)
OF_LOGIN = (
    host_errors.AuthenticationRefused,
    host_errors.KeyUnusable,
    host_errors.HostCertificateRefused,
    host_errors.HostKeyChanged,
)
"""What fails at the login is shown with the host until the login works."""
REPEATED_WITH_AN_OPTION = (request_errors.HostDuplicate, request_errors.HostKeyMismatch)
"""Refusals of `host add` and `host set` that may be right with another option of these."""
STATUSES = (
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
)
"""The others are answers to programs, or name what is wrong with a field."""
VARIANTS: dict[type[TendhostError], Sequence[dict[str, Any]]] = {
    request_errors.InvalidTransition: [
        {"action": action, "state": str(state), "allowed": tuple(map(str, allowed_from(state)))}
        for action in ("retry", "acknowledge", "query")
        for state in HostState
    ],
    request_errors.InvalidRolloutStatus: [{"status": str(s)} for s in (*RolloutStatus, "unknown")],
    request_errors.InvalidScheduleStatus: [
        {"status": str(s)} for s in (*ScheduleStatus, "unknown")
    ],
    request_errors.HostNotSkippable: [{"status": str(s)} for s in MemberStatus],
    request_errors.PolicyNotFound: [{"group": ""}, {"group": "web"}],
    request_errors.PlanUnusable: [{"operation": ""}, {"operation": "op1"}],
    request_errors.RolloutEmpty: [{"excluded": ()}, {"excluded": ("web1: failed",)}],
}


def refusals() -> Iterator[TendhostError]:
    for kind, code in CODES.items():
        of_request = issubclass(kind, request_errors.RequestError)
        if kind in OF_LOGIN or (of_request and code in STATUSES):
            for facts in VARIANTS.get(kind, [{}]):
                yield kind(**{**_made_up(kind), **facts})
    yield request_errors.HostBusy(host="web1", operation="op1")


def _made_up(kind: type[TendhostError]) -> dict[str, Any]:
    """A value for each fact of an error."""
    numbers = {"wave": 1, "waiting": 2, "failures": 3}
    return {field.name: numbers.get(field.name, "web1") for field in fields(kind) if field.init}


def commands_of(text: str) -> Iterator[tuple[Any, str]]:
    """Each command that a text names, and the rest of its line."""
    for line in re.findall(r"(?:: |`|, or )(?:tendhost )([^;`]*)", text):
        words = line.split()
        found: Any = COMMAND
        while (below := getattr(found, "commands", None)) and words:
            assert words[0] in below, f"there is no command {words[0]!r}: {text}"
            found, words = below[words[0]], words[1:]
        assert not below, f"a group is no command: {text}"
        yield found, " ".join(words)


def options_of(command: Any) -> set[str]:
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("error", tuple(refusals()), ids=lambda error: type(error).__name__)
def test_refusal__names_a_command_that_exists(error: TendhostError):
    named = list(commands_of(str(error)))
    assert named or isinstance(error, REPEATED_WITH_AN_OPTION), str(error)
    for command, rest in named:
        for option in re.findall(r"--[a-z-]+", rest.split(", or ")[0]):
            assert option in options_of(command), f"{command.name} has no option {option}: {error}"


@pytest.mark.parametrize("error", [e for e in refusals() if isinstance(e, REPEATED_WITH_AN_OPTION)])
def test_refusal__names_an_option_of_the_refused_command(error: TendhostError):
    advised = set(re.findall(r"--[a-z-]+", str(error)))
    assert advised
    for name in ("add", "set"):
        assert advised <= options_of(COMMAND.commands["host"].commands[name])  # type: ignore[attr-defined]


@pytest.mark.parametrize("state", [s for s in HostState if s is not HostState.FAILED])
def test_refusal__of_a_retry_advises_a_query_only_where_it_may_begin(state: HostState):
    with pytest.raises(request_errors.InvalidTransition) as refused:
        after(state, Trigger.RETRY, host="web1")
    (advised,) = (command.name for command, _ in commands_of(str(refused.value)))
    assert (advised == "query") is ((state, Trigger.QUERY) in TRANSITIONS)
