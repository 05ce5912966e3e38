"""`tendhost policy …`: what it asks, prints, and exits with; and what the SDK asks and is told."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.client import (
    FreezePeriod,
    GroupPolicy,
    HealthCheck,
    HealthChecks,
    Hook,
    Hooks,
    MaintenanceWindow,
    PolicySource,
    PolicySourceKind,
    TcpProbe,
)
from tendhost.v1 import health_pb2, hook_pb2, host_pb2, policy_pb2
from tendhost.v1 import policy_service_pb2 as pb
from tests.contract.client.messages import AT
from tests.contract.client.mock_server import Refused

DEFAULTS_KEYS = [
    *("group", "windows", "freezes", "hooks", "health_checks"),
    *("changed_by", "changed_at", "revision", "etag", "warnings"),
    "incomplete",
]
FREEZE_KEYS = ["name", "starts_at", "ends_at", "reason", "time_zone"]
EFFECTIVE_KEYS = [
    *("host", "windows", "freezes", "pre_hook", "post_hook", "checks", "settle"),
    *("update_allowed", "opens_at", "detail"),
    "incomplete",
]
"""Programs read them: none is ever removed or renamed."""

NIGHTS = host_pb2.MaintenanceWindow(
    start="22:00",
    end="04:00",
    days=[host_pb2.WEEKDAY_SATURDAY, host_pb2.WEEKDAY_SUNDAY],
    time_zone="Europe/Berlin",
)
FLEET = policy_pb2.PolicySource(kind=policy_pb2.POLICY_SOURCE_KIND_FLEET)
DB = policy_pb2.PolicySource(kind=policy_pb2.POLICY_SOURCE_KIND_GROUP, group="db")


def moment(text: str) -> Timestamp:
    message = Timestamp()
    message.FromJsonString(text)
    return message


def freeze(name: str = "year-end", ends: str = "2999-01-04T05:00:00Z") -> policy_pb2.FreezePeriod:
    return policy_pb2.FreezePeriod(
        name=name,
        starts_at=moment("2026-12-23T17:00:00Z"),
        ends_at=moment(ends),
        reason="holidays",
        time_zone="Europe/Berlin",
    )


def check(port: int) -> health_pb2.HealthCheck:
    return health_pb2.HealthCheck(
        tcp=health_pb2.TcpProbe(port=port),
        timeout=Duration(seconds=10),
        attempts=3,
        interval=Duration(seconds=5),
    )


def hook(script: str = "true\n") -> hook_pb2.Hook:
    return hook_pb2.Hook(script=script, timeout=Duration(seconds=300), allowed_exit_codes=[0])


def former(**changes) -> policy_pb2.GroupPolicy:
    """Defaults that say everything."""
    fields = {
        "windows": [NIGHTS],
        "freezes": [freeze(), freeze("old", ends="2026-01-01T00:00:00Z")],
        "hooks": hook_pb2.Hooks(pre=hook("before\n"), post=hook("after\n")),
        "health_checks": health_pb2.HealthChecks(checks=[check(22)], settle=Duration(seconds=30)),
        "changed_by": "alex",
        "changed_at": AT,
        "revision": 7,
    }
    return policy_pb2.GroupPolicy(**{**fields, **changes})


def asked(server, tendhost, *words: str) -> pb.SetPolicyRequest:
    """What `policy set` asks for, which is one request and reads nothing before."""
    server.answer("SetPolicy", pb.SetPolicyResponse(policy=former()))
    done = tendhost("policy", "set", *words)
    assert (done.status, done.err) == (0, "")
    (request,) = server.requests("SetPolicy")
    assert list(server.calls) == ["SetPolicy"]
    assert request.request_id
    request.ClearField("request_id")
    assert isinstance(request, pb.SetPolicyRequest)
    return request


def given(*paths: str, **fields) -> pb.SetPolicyRequest:
    """A request that changes the fields of these paths."""
    lists = {name: fields.pop(name) for name in list(fields) if name.startswith(("add", "remove"))}
    defaults = policy_pb2.GroupPolicy(**fields)
    defaults.hooks.SetInParent()
    defaults.health_checks.SetInParent()
    return pb.SetPolicyRequest(policy=defaults, update_mask=FieldMask(paths=paths), **lists)


def test_set__asks_for_what_was_typed_and_nothing_else(tendhost, server, tmp_path):
    script = tmp_path / "drain.sh"
    script.write_text("drain\n")
    request = asked(
        *(server, tendhost, "--group", "db", "--window", "sat,sun 22:00-04:00 Europe/Berlin"),
        *("--window", "always", "--pre-hook", str(script), "--check", "tcp:22", "--settle", "30s"),
        *("--freeze", "year-end 2026-12-23T18:00+01:00 2027-01-04T06:00+01:00 the holidays"),
    )
    assert request == given(
        *("windows", "hooks.pre", "health_checks.checks", "health_checks.settle"),
        group="db",
        windows=[
            NIGHTS,
            host_pb2.MaintenanceWindow(start="00:00", end="00:00", time_zone="UTC"),
        ],
        add_freezes=[
            policy_pb2.FreezePeriod(
                name="year-end",
                starts_at=moment("2026-12-23T17:00:00Z"),
                ends_at=moment("2027-01-04T05:00:00Z"),
                reason="the holidays",
                time_zone="UTC",
            )
        ],
        hooks=hook_pb2.Hooks(pre=hook("drain\n")),
        health_checks=health_pb2.HealthChecks(checks=[check(22)], settle=Duration(seconds=30)),
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--no-windows"], given("windows")),
        (["--window", ""], given("windows")),
        (["--unfreeze", "year-end"], given(remove_freezes=["year-end"])),
        (["--remove-freeze", "year-end"], given(remove_freezes=["year-end"])),
        (["--add-window", "sat,sun 22:00-04:00 Europe/Berlin"], given(add_windows=[NIGHTS])),
        (["--remove-window", "sat,sun 22:00-04:00 Europe/Berlin"], given(remove_windows=[NIGHTS])),
        (["--pre-hook", ""], given("hooks.pre")),
        (["--check", ""], given("health_checks.checks")),
        (
            ["--settle", "0"],
            given(
                "health_checks.settle",
                health_checks=health_pb2.HealthChecks(settle=Duration()),
            ),
        ),
        (
            ["--freeze", "audit 2999-03-01[Europe/Berlin] 2999-03-02T12:00[Europe/Berlin]"],
            given(
                add_freezes=[
                    policy_pb2.FreezePeriod(
                        name="audit",
                        starts_at=moment("2999-02-28T23:00:00Z"),
                        ends_at=moment("2999-03-02T11:00:00Z"),
                        time_zone="Europe/Berlin",
                    ),
                ]
            ),
        ),
        (
            ["--add-freeze", "'year-end' 2026-12-23T17:00Z 2999-01-05T05:00:00Z 'all day'"],
            given(
                add_freezes=[
                    policy_pb2.FreezePeriod(
                        name="year-end",
                        starts_at=moment("2026-12-23T17:00:00Z"),
                        ends_at=moment("2999-01-05T05:00:00Z"),
                        reason="all day",
                        time_zone="UTC",
                    )
                ]
            ),
        ),
    ],
)
def test_set__names_only_the_fields_that_were_typed(words, expected, tendhost, server):
    assert asked(server, tendhost, *words) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to change; see `tendhost policy set --help`"),
        (["--group", "db"], "nothing to change"),
        (["--window", "always", "--no-windows"], "--no-windows cannot be combined with --window"),
        (["--window", "someday"], "--window: invalid window 'someday'"),
        (["--freeze", "year-end"], "--freeze: invalid freeze 'year-end'; use 'NAME FROM UNTIL"),
        (["--freeze", "'a 2026-12-01Z 2026-12-02Z"], "--freeze: invalid freeze"),
        (
            ["--freeze", "a today 2026-12-02T00:00Z"],
            "--freeze: invalid time 'today'; use one with its time zone",
        ),
        (
            ["--freeze", "a 2026-12-01 2026-12-02T00:00Z"],
            "--freeze: invalid time '2026-12-01'; use one with its time",
        ),
        (["--freeze", "a 2026-12-01[Mars] 2026-12-02[Mars]"], "--freeze: unknown time zone 'Mars'"),
        (
            ["--hook-timeout", "1m"],
            "--hook-timeout, --hook-exit-code and --secret-hooks require --pre-hook or --post-hook",
        ),
    ],
)
def test_wrong_option_is_refused_as_it_was_typed(words, said, tendhost, server):
    done = tendhost("policy", "set", *words)
    assert done.status == 2
    assert said in done.err
    assert not server.calls


def test_refused_field_is_told_without_its_message(tendhost, server):
    refused = Refused(
        code=grpc.StatusCode.INVALID_ARGUMENT,
        reason="INVALID_ARGUMENT",
        violations=[("policy.windows[0].time_zone", "'Mars' is not an IANA time zone")],
    )
    server.answer("SetPolicy", refused)
    done = tendhost("policy", "set", "--window", "22:00-04:00 Mars")
    assert (done.status, done.err) == (
        *(2, "error: --window (time_zone): 'Mars' is not an IANA time zone\n"),
    )


def test_what_is_said_is_shown(tendhost, server):
    server.answer("GetPolicy", pb.GetPolicyResponse(policy=former(group="db")))
    done = tendhost("policy", "show", "--group", "db")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[:5] == [
        "policy group db",
        "windows sat,sun 22:00-04:00 Europe/Berlin",
        "freezes 2026-12-23 18:00 to 2999-01-04 06:00 Europe/Berlin (year-end: holidays);"
        " 2026-12-23 18:00 to 2026-01-01 01:00 Europe/Berlin (old: holidays)",
        "hooks before (1 line, at most 5m), after (1 line, at most 5m)",
        "health checks tcp:22 for 30s",
    ]
    assert lines[5].endswith("by alex")
    document = tendhost("policy", "show", "--group", "db", "--output", "json").json
    assert list(document) == DEFAULTS_KEYS
    assert list(document["freezes"][0]) == FREEZE_KEYS
    assert document["freezes"][0]["ends_at"] == "2999-01-04T05:00:00Z"


def test_that_nothing_is_said_is_told(tendhost, server):
    server.answer("GetPolicy", pb.GetPolicyResponse(policy=policy_pb2.GroupPolicy()))
    lines = [" ".join(line.split()) for line in tendhost("policy", "show").out.splitlines()]
    assert lines == [
        "policy fleet",
        "windows not set",
        "freezes none",
        "hooks not set",
        "health checks not set",
    ]


def test_everything_that_is_said_is_listed(tendhost, server):
    found = [former(), policy_pb2.GroupPolicy(group="db", changed_at=AT, changed_by="kim")]
    server.answer("ListPolicies", pb.ListPoliciesResponse(policies=found))
    first, fleet, db = tendhost("policy", "list").out.splitlines()
    assert first.split() == ["POLICY", "WINDOWS", "FREEZES", "HOOKS", "CHECKS", "CHANGED"]
    assert fleet.startswith("fleet     sat,sun 22:00-04:00 Europe/Berlin  year-end, old")
    assert "1 check" in fleet
    assert db.startswith("group db")
    assert db.endswith("by kim")
    server.answer("ListPolicies", pb.ListPoliciesResponse())
    assert tendhost("policy", "list").out == "no fleet policy and no group policies are set\n"


def test_what_is_deleted_is_told(tendhost, server):
    server.answer("DeletePolicy", pb.DeletePolicyResponse(revision=9))
    assert tendhost("policy", "delete", "--group", "db").out == ("deleted the policy of group db\n")
    document = tendhost("policy", "delete", "--output", "json").json
    assert document == {"group": "", "deleted": True}
    assert [r.group for r in server.requests("DeletePolicy")] == ["db", ""]


def test_what_holds_for_a_host_is_shown_with_who_says_so(tendhost, server):
    policy = policy_pb2.EffectivePolicy(
        host="db1",
        windows=[policy_pb2.EffectiveWindows(windows=[NIGHTS], source=DB)],
        freezes=[policy_pb2.EffectiveFreeze(freeze=freeze(), source=FLEET)],
        pre_hook=policy_pb2.EffectiveHook(hook=hook(), source=DB),
        checks=[
            policy_pb2.EffectiveCheck(
                check=check(22),
                source=policy_pb2.PolicySource(kind=policy_pb2.POLICY_SOURCE_KIND_HOST),
            )
        ],
        settle=policy_pb2.EffectiveSettle(settle=Duration(seconds=30), source=FLEET),
        opens_at=moment("2999-01-05T21:00:00Z"),
        detail="frozen until 2999-01-04 06:00 Europe/Berlin (year-end: holidays)",
    )
    server.answer("GetEffectivePolicy", pb.GetEffectivePolicyResponse(policy=policy))
    lines = [
        " ".join(line.split()) for line in tendhost("policy", "effective", "db1").out.splitlines()
    ]
    assert lines[0] == "host db1"
    assert lines[1].startswith("may be updated 2999-01-05 21:00 UTC (in ")
    assert lines[2:] == [
        "frozen until 2999-01-04 06:00 Europe/Berlin (year-end: holidays)",
        "",
        "PART VALUE FROM",
        "window sat,sun 22:00-04:00 Europe/Berlin group db",
        "freeze 2026-12-23 18:00 to 2999-01-04 06:00 Europe/Berlin (year-end: holidays) fleet",
        "hook before (1 line, at most 5m) group db",
        "health check tcp:22 host",
        "settling time 30s fleet",
    ]
    document = tendhost("policy", "effective", "db1", "--output", "json").json
    assert list(document) == EFFECTIVE_KEYS
    assert document["windows"][0]["source"] == {"kind": "group", "group": "db"}
    assert (document["update_allowed"], document["post_hook"]) == (False, None)


@pytest.mark.parametrize(("update_allowed", "words"), [(True, "now"), (False, "never")])
def test_host_of_which_nothing_is_said_is_told_so(update_allowed, words, tendhost, server):
    policy = policy_pb2.EffectivePolicy(host="web1", update_allowed=update_allowed)
    server.answer("GetEffectivePolicy", pb.GetEffectivePolicyResponse(policy=policy))
    lines = [
        " ".join(line.split()) for line in tendhost("policy", "effective", "web1").out.splitlines()
    ]
    assert lines == ["host web1", f"may be updated {words}"]


async def test_sdk_says_and_reads_all_there_is(server, client):
    server.answer("SetPolicy", pb.SetPolicyResponse(policy=former(group="db")))
    wish = GroupPolicy(
        group="db",
        windows=(
            MaintenanceWindow(
                start="22:00", end="04:00", days=("sat", "sun"), time_zone="Europe/Berlin"
            ),
        ),
        freezes=(
            FreezePeriod(
                name="year-end",
                starts_at=datetime(2026, 12, 23, 17, tzinfo=UTC),
                ends_at=datetime(2999, 1, 4, 5, tzinfo=UTC),
                reason="holidays",
                time_zone="Europe/Berlin",
            ),
        ),
        hooks=Hooks(pre=Hook(script="before\n"), post=Hook(script="after\n")),
        health_checks=HealthChecks(
            checks=(HealthCheck(tcp=TcpProbe(port=22)),), settle=timedelta(seconds=30)
        ),
    )
    told = await client.set_policy(wish)
    (request,) = server.requests("SetPolicy")
    expected = former(group="db", freezes=[freeze()])
    for field in ("changed_by", "changed_at", "revision"):
        expected.ClearField(field)
    assert request.policy == expected
    assert (told.group, told.windows, told.freezes[:1]) == ("db", wish.windows, wish.freezes)
    assert (told.hooks, told.health_checks) == (wish.hooks, wish.health_checks)
    assert (told.changed_by, told.revision) == ("alex", 7)


async def test_source_that_only_a_newer_server_knows_is_unrecognized(server, client):
    newer = policy_pb2.PolicySource.FromString(b"\x08\x63")  # kind: 99
    policy = policy_pb2.EffectivePolicy(settle=policy_pb2.EffectiveSettle(source=newer))
    server.answer("GetEffectivePolicy", pb.GetEffectivePolicyResponse(policy=policy))
    found = await client.effective_policy("web1")
    assert found.settle.source == PolicySource(kind=PolicySourceKind.UNRECOGNIZED, group="")
