"""Each reason that a server can give is an error of its own kind, with all that was said."""

import grpc
import pytest

from tendhost import client as sdk
from tendhost.client.errors import REASONS
from tendhost.server.domain import errors
from tendhost.server.rpc.status import CODES
from tests.contract.client.mock_server import Refused

NOT_NOW = grpc.StatusCode.FAILED_PRECONDITION
FAMILIES = {
    sdk.InvalidRequest: {
        "INVALID_ARGUMENT",
        "CONFIGURATION_ERROR",
        "REQUEST_ID_REUSED",
        "PAGE_TOKEN_INVALID",
    },
    sdk.NotFound: {
        "HOST_NOT_FOUND",
        "OPERATION_NOT_FOUND",
        "ROLLOUT_NOT_FOUND",
        "PLAN_NOT_FOUND",
        "HOST_NOT_IN_ROLLOUT",
        "SCHEDULE_NOT_FOUND",
        "SELECTION_NOT_FOUND",
        "POLICY_NOT_FOUND",
        "INVENTORY_NOT_FOUND",
        "TOKEN_NOT_FOUND",
    },
    sdk.AlreadyExists: {
        "HOST_ALREADY_EXISTS",
        "HOST_DUPLICATE",
        "SCHEDULE_ALREADY_EXISTS",
        "SELECTION_ALREADY_EXISTS",
    },
    sdk.HostBusy: {"HOST_BUSY"},
    sdk.Conflict: {"CONFLICT", "LEASE_LOST"},
    sdk.EtagMismatch: {"ETAG_MISMATCH"},
    sdk.NotAllowedNow: {
        "HOST_FAILED",
        "INVALID_TRANSITION",
        "OPERATION_ENDED",
        "INVALID_ROLLOUT_STATUS",
        "ROLLOUT_EMPTY",
        "ROLLOUT_BUDGET_SPENT",
        "HOST_NOT_SKIPPABLE",
        "WAVE_NOT_WAITING",
        "NOTHING_TO_RETRY",
        "FLEET_CHANGED",
        "INVALID_SCHEDULE_STATUS",
        "SELECTION_IN_USE",
        "REBOOT_NOT_ALLOWED",
        "JUMP_IN_USE",
        "ONLY_JUMP",
        "PLAN_UNUSABLE",
    },
    sdk.PermissionDenied: {"NOT_AN_APPROVER", "PERMISSION_MISSING", "CALL_NOT_SCOPED"},
    sdk.Unauthenticated: {"CREDENTIAL_MISSING", "CREDENTIAL_INVALID"},
    sdk.CursorLost: {"CURSOR_COMPACTED", "CURSOR_UNKNOWN"},
    sdk.WatcherTooSlow: {"WATCHER_TOO_SLOW"},
    sdk.ServerFailed: {"MESSAGE_OVERDUE"},
    sdk.LimitReached: {
        "TOO_MANY_CALLS",
        "TOO_MANY_STREAMS",
        "TOO_MANY_OPERATIONS",
        "TOO_MANY_QUEUED",
        "TOO_MANY_ROLLOUTS",
    },
    sdk.ServerUnavailable: {"STORE_UNAVAILABLE", "SERVER_STOPPING"},
    sdk.ServerFault: {"INTERNAL", "UNEXPECTED", "BOOKKEEPING_FAILED", "DOCUMENT_UNREADABLE"},
    sdk.HostUnreachable: {
        *("SSH_ERROR", "HOST_UNREACHABLE", "LINK_LOST", "CHANNEL_REFUSED", "TIMEOUT"),
    },
    sdk.AuthenticationRefused: {
        "AUTHENTICATION_REFUSED",
        "KEY_UNUSABLE",
        "SECOND_FACTOR_WANTED",
    },
    sdk.HostKeyChanged: {"HOST_KEY_CHANGED", "HOST_KEY_MISMATCH"},
}
CASES = sorted((reason, kind) for kind, reasons in FAMILIES.items() for reason in reasons)


@pytest.mark.parametrize(("reason", "kind"), CASES, ids=[reason for reason, _ in CASES])
async def test_reason_is_told_by_the_kind_of_error(reason, kind, server, client):
    server.answer(
        "GetHost",
        Refused(code=NOT_NOW, reason=reason, message="what happened", metadata={"host": "web1"}),
    )
    with pytest.raises(sdk.TendhostError) as caught:
        await client.get_host("web1")
    assert type(caught.value) is kind
    assert caught.value.reason == reason
    assert caught.value.message == str(caught.value) == "what happened"
    assert caught.value.metadata == {"host": "web1"}


def test_every_reason_of_the_server_has_its_kind():
    said = {error.reason for error in CODES} | {errors.TendhostError.reason}
    assert said == set(REASONS)


def test_every_other_reason_is_a_problem_of_the_host_that_is_enrolled():
    named = set().union(*FAMILIES.values())
    rest = {reason: kind for reason, kind in REASONS.items() if reason not in named}
    assert "PRIVILEGE_MISSING" in rest
    assert set(rest.values()) == {sdk.HostProblem}


async def test_every_invalid_field_is_named_at_once(server, client):
    violations = [("config.address", "must be a host name"), ("config.tags[0]", "must be short")]
    server.answer(
        "RegisterHost",
        Refused(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_ARGUMENT",
            message="two fields",
            violations=violations,
        ),
    )
    with pytest.raises(sdk.InvalidRequest) as caught:
        await client.add_host("web1", "10.0.0.5:22")
    assert [(v.field, v.description) for v in caught.value.violations] == violations


async def test_reason_that_only_a_newer_server_knows_is_still_an_error_of_ours(server, client):
    server.answer("GetHost", Refused(code=NOT_NOW, reason="MOON_PHASE", metadata={"moon": "full"}))
    with pytest.raises(sdk.TendhostError) as caught:
        await client.get_host("web1")
    assert (caught.value.reason, caught.value.metadata) == ("MOON_PHASE", {"moon": "full"})


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, sdk.ServerUnreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, sdk.ServerUnreachable),
        (grpc.StatusCode.CANCELLED, sdk.ServerUnreachable),
        (grpc.StatusCode.INVALID_ARGUMENT, sdk.InvalidRequest),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, sdk.InvalidRequest),
        (grpc.StatusCode.UNIMPLEMENTED, sdk.NotImplementedByServer),
        (grpc.StatusCode.INTERNAL, sdk.ServerFault),
        (grpc.StatusCode.UNKNOWN, sdk.ServerFault),
    ],
)
async def test_status_without_our_details_is_told_by_its_code(code, kind, server, client):
    server.answer("GetHost", Refused(code=code, message="of gRPC itself"))
    with pytest.raises(sdk.TendhostError) as caught:
        await client.get_host("web1")
    assert type(caught.value) is kind
    assert caught.value.reason == code.name
    assert "of gRPC itself" in caught.value.message


async def test_details_of_another_domain_are_not_taken_for_ours(server, client):
    server.answer(
        "GetHost",
        Refused(code=grpc.StatusCode.UNKNOWN, reason="HOST_NOT_FOUND", domain="example.org"),
    )
    with pytest.raises(sdk.ServerFault):
        await client.get_host("web1")
