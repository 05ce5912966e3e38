"""`tendhost login`, `whoami`, `token …` and `context …` against a mock server."""

import io
import json
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tendhost.client.cli import main
from tendhost.v1 import access_service_pb2 as pb
from tendhost.v1 import host_pb2
from tests.contract.client.mock_server import Refused

TEXT = "tend_0123456789ab_secret_000000"
CI = pb.GetCallerResponse(
    principal="ci",
    credential_kind=pb.CREDENTIAL_KIND_TOKEN,
    credential_id="0123456789ab",
    roles=[pb.ROLE_VIEWER, pb.ROLE_APPROVER],
    address="ipv4:192.0.2.7",
)


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    return tmp_path / "config/tendhost/contexts.json"


def test_login__tries_the_token_and_stores_it(tendhost, server, contexts, monkeypatch):
    monkeypatch.setenv("TENDHOST_TOKEN", TEXT)
    server.answer("GetCaller", CI)
    done = tendhost("login", "--name", "production")
    assert (
        done.out == f"logged in at {server.address} as ci (viewer, approver), context production\n"
    )
    assert server.calls["GetCaller"][0].metadata["authorization"] == f"Bearer {TEXT}"
    stored = json.loads(contexts.read_text())
    assert stored["current"] == "production"
    assert stored["contexts"][0]["token"] == TEXT
    assert contexts.stat().st_mode & 0o777 == 0o600


def test_login__that_is_refused_stores_nothing(tendhost, server, contexts, monkeypatch):
    monkeypatch.setenv("TENDHOST_TOKEN", TEXT)
    refused = Refused(
        code=grpc.StatusCode.UNAUTHENTICATED, reason="CREDENTIAL_INVALID", message="it expired"
    )
    server.answer("GetCaller", refused)
    done = tendhost("login")
    assert (done.status, done.err) == (2, "error: it expired\n")
    assert not contexts.exists()


@pytest.mark.parametrize("words", [["login"], ["whoami"], ["host", "list"]])
def test_token__goes_to_no_server_that_nobody_named(contexts, tmp_path, monkeypatch, capsys, words):
    for name, value in {"TENDHOST_TOKEN": TEXT, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("tendhost.client.connection.SYSTEM_FOLDER", tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "the token was not sent: no server is named" in capsys.readouterr().err
    assert not contexts.exists()
    with pytest.raises(SystemExit) as ended:
        main(["context", "list"])  # needs no server
    assert ended.value.code == 0


def test_login__refuses_what_is_no_text(tendhost, server, monkeypatch):
    monkeypatch.delenv("TENDHOST_TOKEN", raising=False)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8"))
    done = tendhost("login")
    assert done.status == 2
    assert done.err.startswith("error: token: it holds spaces or letters that no token has")
    assert not any(server.calls.values())


def test_login__refuses_a_name_that_nobody_can_type(tendhost, server, contexts, monkeypatch):
    monkeypatch.setenv("TENDHOST_TOKEN", TEXT)
    done = tendhost("login", "--name", "")
    assert done.status == 2
    assert done.err.startswith("error: --name: invalid name '' of a context, expected 1 to 64")
    assert not any(server.calls.values())


def test_context__is_chosen_where_the_current_one_cannot_be_used(tendhost, contexts):
    stored = {"contexts": [{"name": "x", "server": "bad"}, {"name": "y", "server": "y:1"}]}
    contexts.parent.mkdir(parents=True)
    for current in ("x", "gone"):
        contexts.write_text(json.dumps({**stored, "current": current}))
        contexts.chmod(0o600)
        with pytest.raises(SystemExit, match="0"):
            main(["context", "use", "y"])
        assert json.loads(contexts.read_text())["current"] == "y"


def test_login__refuses_a_file_that_is_not_there(tendhost, server):
    done = tendhost("login", "--ca", "/nowhere/ca.pem")
    assert (done.status, done.err) == (2, "error: --ca: '/nowhere/ca.pem' is not a file\n")
    assert not any(server.calls.values())


def test_later_commands__use_the_token_of_the_context(tendhost, server, monkeypatch):
    monkeypatch.setenv("TENDHOST_TOKEN", TEXT)
    server.answer("GetCaller", CI)
    tendhost("login")
    monkeypatch.delenv("TENDHOST_TOKEN")
    server.answer("GetCaller", CI)
    assert tendhost("whoami").out == "ci: viewer, approver (by token 0123456789ab)\n"
    assert server.calls["GetCaller"][-1].metadata["authorization"] == f"Bearer {TEXT}"


def test_contexts__are_listed_chosen_and_deleted(tendhost, server, monkeypatch):
    assert tendhost("context", "list").out == "no contexts\n"
    monkeypatch.setenv("TENDHOST_TOKEN", TEXT)
    for name in ("one", "two"):
        server.answer("GetCaller", CI)
        tendhost("login", "--name", name)
    assert tendhost("context", "list").out == f"  one  {server.address}\n* two  {server.address}\n"
    assert tendhost("context", "use", "one").status == 0
    assert tendhost("context", "delete", "two").status == 0
    listed = tendhost("context", "list", "--output", "json")
    assert listed.json == [{"name": "one", "server": server.address, "current": True}]
    assert TEXT not in listed.out
    done = tendhost("context", "use", "two")
    assert (done.status, done.err) == (2, "error: there is no context 'two'; the contexts: one\n")


def test_token__is_printed_alone_so_that_a_program_can_read_it(tendhost, server):
    token = pb.Token(id="0123456789ab", principal="ci", roles=[pb.ROLE_OPERATOR])
    server.answer("CreateToken", pb.CreateTokenResponse(token=token, text=TEXT))
    done = tendhost("token", "create", "ci", "--role", "operator", "--expires", "2090-01-01T00:00Z")
    assert done.out == f"{TEXT}\n"
    assert "it is shown only now" in done.err
    (request,) = server.requests("CreateToken")
    assert list(request.roles) == [pb.ROLE_OPERATOR]
    assert request.expires_at.seconds == 3786912000


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "--role: say what the token is for"),
        (("--role", "root"), "--role"),
        (("--role", "viewer", "--expires", ""), "--expires: invalid time ''"),
        (("--role", "viewer", "--expires", "tomorrow"), "--expires: invalid time 'tomorrow'"),
    ],
)
def test_token__that_is_asked_for_wrongly_is_refused(tendhost, server, words, error):
    done = tendhost("token", "create", "ci", *words)
    assert done.status == 2
    assert error in done.err
    assert not any(server.calls.values())


def test_tokens__are_listed_without_secrets(tendhost, server):
    token = pb.Token(id="0123456789ab", principal="ci", roles=[pb.ROLE_VIEWER], description="x")
    server.answer("ListTokens", pb.ListTokensResponse(tokens=[token]))
    lines = tendhost("token", "list").out.splitlines()
    assert lines[1].split() == [
        *("0123456789ab", "ci", "viewer", "never", "never", "all", "x"),
    ]


def test_token__is_bound_to_the_hosts_of_its_options_and_shown_with_them(tendhost, server):
    scope = host_pb2.HostFilter(groups=["web", "db"], all_tags=["prod"])
    token = pb.Token(id="0123456789ab", principal="ci", roles=[pb.ROLE_OPERATOR], scope=scope)
    server.answer("CreateToken", pb.CreateTokenResponse(token=token, text=TEXT))
    words = ("--role", "operator", "--group", "web", "--group", "db", "--tag", "prod")
    assert tendhost("token", "create", "ci", *words).out == f"{TEXT}\n"
    (request,) = server.requests("CreateToken")
    assert request.scope == scope
    server.answer("ListTokens", pb.ListTokensResponse(tokens=[token]))
    assert "group web or db; tag prod" in tendhost("token", "list").out


def test_token__without_options_of_hosts_is_bound_to_none(tendhost, server):
    server.answer("CreateToken", pb.CreateTokenResponse(text=TEXT))
    tendhost("token", "create", "ci", "--role", "viewer")
    assert not server.requests("CreateToken")[0].HasField("scope")


def test_whoami__names_the_hosts_that_the_caller_is_bound_to(tendhost, server):
    bound = pb.GetCallerResponse()
    bound.CopyFrom(CI)
    bound.scope.groups.append("web")
    server.answer("GetCaller", bound)
    words = "ci: viewer, approver, hosts: group web (by token 0123456789ab)\n"
    assert tendhost("whoami").out == words


def test_token__is_deleted_by_its_id(tendhost, server):
    token = pb.Token(id="0123456789ab", principal="ci")
    server.answer("DeleteToken", pb.DeleteTokenResponse(token=token))
    assert tendhost("token", "delete", "0123456789ab").out == "deleted token 0123456789ab of ci\n"
    assert server.requests("DeleteToken")[0].id == "0123456789ab"


def test_info__says_when_nobody_needs_a_credential(tendhost, server):
    from tendhost.v1 import system_service_pb2

    info = system_service_pb2.GetServerInfoResponse(log_id="log1", open_access=True)
    server.answer("GetServerInfo", info)
    assert "no credential is needed" in tendhost("info").out


def test_info__says_when_certificates_expire(tendhost, server):
    from tendhost.v1 import event_pb2, system_service_pb2

    certificate = system_service_pb2.ServerCertificate
    own, ca = event_pb2.CERTIFICATE_USE_SERVER, event_pb2.CERTIFICATE_USE_CLIENT_CA
    info = system_service_pb2.GetServerInfoResponse(
        certificates=[
            certificate(use=own, file="/tls/server.pem", expires_at=Timestamp(seconds=10**9)),
            certificate(use=own, file="/tls/next.pem", expires_at=Timestamp(seconds=10**11)),
            certificate(use=ca, file="/tls/ca.pem", problem="others may read it"),
        ]
    )
    server.answer("GetServerInfo", info)
    lines = tendhost("info").out.splitlines()[2:]
    assert lines[0] == "certificate /tls/server.pem HAS EXPIRED (2001-09-09)"
    assert lines[1].startswith("certificate /tls/next.pem expires in ")
    assert lines[2] == "CA of client certificates /tls/ca.pem: others may read it"
    assert tendhost("info", "--output", "json").json["certificates"][2]["use"] == "client_ca"


def test_whoami__names_the_issuer_of_a_jwt(tendhost, server):
    server.answer(
        "GetCaller",
        pb.GetCallerResponse(
            principal="company+kim",
            credential_kind=pb.CREDENTIAL_KIND_JWT,
            credential_id="company/4f1c",
            roles=[pb.ROLE_VIEWER],
        ),
    )
    shown = tendhost("whoami").out
    assert "company+kim" in shown
    assert "jwt company/4f1c" in shown


def test_audit__lists_who_asked_for_what_with_which_result(tendhost, server):
    done = pb.AuditRecord(
        number=3,
        at=Timestamp(seconds=1801396800),
        principal="ci",
        address="ipv4:192.0.2.7",
        method="/tendhost.v1.HostService/StartUpdate",
        subject="web1",
        result="OK",
        credential_kind=pb.CREDENTIAL_KIND_TOKEN,
        credential_id="0123456789ab",
    )
    omitted = pb.AuditRecord(number=2, principal="", result="OMITTED", omitted=7)
    server.answer("ListAuditRecords", pb.ListAuditRecordsResponse(records=[done, omitted]))
    words = ("audit", "--host", "web1", "--principal", "ci", "--method", "StartUpdate")
    first, second = tendhost(*words, "--since", "2027-01-31T00:00Z").out.splitlines()[1:]
    assert first.split() == [
        *("2027-01-31", "12:00:00", "ci", "token", "0123456789ab", "(ipv4:192.0.2.7)"),
        *("StartUpdate", "web1", "OK"),
    ]
    assert second.split() == ["(several)", "7", "more", "refused"]
    (request,) = server.requests("ListAuditRecords")
    assert (request.subject, request.principal, request.method) == ("web1", "ci", "StartUpdate")
    assert (request.since.seconds, request.HasField("until")) == (1801353600, False)


def test_audit__is_json_for_programs_and_ends_at_the_limit(tendhost, server):
    records = [pb.AuditRecord(number=number, result="OK") for number in (3, 2, 1)]
    server.answer(
        "ListAuditRecords", pb.ListAuditRecordsResponse(records=records, next_page_token="t")
    )
    done = tendhost("audit", "--limit", "2", "--output", "json")
    assert [record["number"] for record in done.json] == [3, 2]
    assert [record["credential_kind"] for record in done.json] == [None, None]


def test_audit__says_what_a_sink_has_missed(tendhost, server):
    missed = pb.AuditRecord(
        number=2, principal="tendhostd", subject="audit sink siem", result="MISSED", omitted=7
    )
    server.answer("ListAuditRecords", pb.ListAuditRecordsResponse(records=[missed]))
    (line,) = tendhost("audit").out.splitlines()[1:]
    assert line.split() == [*("tendhostd", "audit", "sink", "siem", "7", "records", "missed")]


def test_info__says_how_audit_sinks_go(tendhost, server):
    from tendhost.v1 import system_service_pb2

    disk = system_service_pb2.AuditSink(name="disk", delivered=1)
    siem = system_service_pb2.AuditSink(name="siem", missed=4, waiting=2, problem="status 503")
    siem.problem_at.GetCurrentTime()
    info = system_service_pb2.GetServerInfoResponse(log_id="log1", audit_sinks=[disk, siem])
    server.answer("GetServerInfo", info)
    *_, first, second = tendhost("info").out.splitlines()
    assert first == "audit sink disk: 1 record delivered"
    assert second.startswith(
        "audit sink siem: 0 records delivered, 4 missed, 2 waiting; status 503 ("
    )
    (_, told) = tendhost("info", "--output", "json").json["audit_sinks"]
    assert (told["name"], told["missed"], told["number"]) == ("siem", 4, 0)


def test_version__is_shown_whatever_the_contexts_are(tendhost, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "tendhost" / "contexts.json"
    file.parent.mkdir()
    for content in ("{", '{"current": "gone", "contexts": []}'):
        file.write_text(content)
        file.chmod(0o600)
        assert tendhost("version").status == 0
        assert tendhost("context", "list").status in (0, 2)
    file.write_text("{")
    assert tendhost("info").status == 2
