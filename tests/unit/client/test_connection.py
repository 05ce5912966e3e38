"""Which server is meant, and which credential goes with it: the environment, contexts, and sockets."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tendhost.client.connection import (
    DEFAULT_TARGET,
    LONGEST_TOKEN,
    Connection,
    default_connection,
)
from tendhost.client.contexts import Context, Contexts, load_contexts
from tendhost.client.errors import InvalidRequest

PRODUCTION = Context(name="production", server="example.org:1", token="secret", ca="/ca.pem")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user without any server."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tendhost.client.connection.SYSTEM_FOLDER", tmp_path / "none")
    return {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def contexts(*known: Context, current: str = "") -> Contexts:
    return Contexts(path=Path("/nowhere"), contexts=known, current_name=current)


def listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    return server


def test_nothing_said__means_the_port_of_this_machine(nowhere: dict[str, str]):
    found = default_connection(nowhere, contexts())
    assert (found.server, found.metadata(), found.credentials()) == (DEFAULT_TARGET, (), None)


def test_socket_of_ones_own__beats_the_port(nowhere: dict[str, str], tmp_path: Path):
    path = tmp_path / "run/tendhost/tendhostd.sock"
    with listening(path):
        assert default_connection(nowhere, contexts()).server == f"unix:{path}"


def test_file_in_place_of_a_socket__is_no_server(nowhere: dict[str, str], tmp_path: Path):
    path = tmp_path / "run/tendhost/tendhostd.sock"
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert default_connection(nowhere, contexts()).server != f"unix:{path}"


def test_current_context__beats_the_socket(nowhere: dict[str, str], tmp_path: Path):
    with listening(tmp_path / "run/tendhost/tendhostd.sock"):
        found = default_connection(nowhere, contexts(PRODUCTION, current="production"))
    assert (found.server, found.token, found.ca) == ("example.org:1", "secret", "/ca.pem")


def test_environment__beats_the_context(nowhere: dict[str, str]):
    given = {"TENDHOST_SERVER": "other:2", "TENDHOST_TOKEN": "t", "TENDHOST_CA": "/other.pem"}
    found = default_connection(nowhere | given, contexts(PRODUCTION, current="production"))
    assert (found.server, found.token, found.ca) == ("other:2", "t", "/other.pem")


def test_credential_of_a_context__goes_to_its_own_server_only(nowhere: dict[str, str]):
    known = contexts(PRODUCTION, current="production")
    assert default_connection(nowhere, known, server="other:2").token == ""
    assert default_connection(nowhere, known, server="example.org:1").token == "secret"


def test_context__is_stored_for_its_owner_only_and_read_again(nowhere: dict[str, str]):
    load_contexts(nowhere).with_context(PRODUCTION).save()
    stored = load_contexts(nowhere)
    assert stored.current == PRODUCTION
    assert stored.path.stat().st_mode & 0o777 == 0o600
    assert stored.path.parent.stat().st_mode & 0o777 == 0o700


def test_context__of_the_same_name_is_replaced(nowhere: dict[str, str]):
    other = Context(name="production", server="new:1")
    assert contexts(PRODUCTION).with_context(other).contexts == (other,)


def test_context__that_is_deleted_is_no_longer_current():
    left = contexts(PRODUCTION, current="production").without("production")
    assert (left.contexts, left.current) == ((), None)


@pytest.mark.parametrize("change", [Contexts.used, Contexts.without])
def test_context__that_is_not_there_is_refused_with_those_that_are(change):
    with pytest.raises(InvalidRequest, match="'prod'; the contexts: production"):
        change(contexts(PRODUCTION), "prod")


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "{",
            "[]",
            "{}",
            '{"contexts": 5, "current": ""}',
            '{"contexts": [5], "current": ""}',
        ),
        '{"contexts": [{"name": "x"}], "current": ""}',
        '{"contexts": [], "current": {}}',
        '{"contexts": [{"name": "x", "server": "s:1", "token": null}], "current": "x"}',
        "[" * 100_000,
    ],
)
def test_file__that_is_damaged_is_refused_with_words(nowhere: dict[str, str], content: str):
    path = load_contexts(nowhere).path
    path.parent.mkdir(parents=True)
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InvalidRequest, match="is not a file of contexts"):
        load_contexts(nowhere)


def test_file__that_is_none_is_refused(nowhere: dict[str, str]):
    path = load_contexts(nowhere).path
    path.parent.mkdir(parents=True)
    os.mkfifo(path, 0o600)  # to read it would wait for a writer for ever
    with pytest.raises(
        InvalidRequest, match="cannot be read: it is a pipe, expected a regular file"
    ):
        load_contexts(nowhere)


def test_current_context__that_is_not_there_is_no_other_server(nowhere: dict[str, str], tmp_path):
    known = contexts(PRODUCTION, current="prod")
    with listening(tmp_path / "run/tendhost/tendhostd.sock"):
        with pytest.raises(InvalidRequest, match=r"'prod' is not there; .* context use NAME"):
            default_connection(nowhere, known)
        with pytest.raises(
            InvalidRequest, match=r"there is no context any more; log in: tendhost login"
        ):
            default_connection(nowhere, contexts(current="prod"))
        assert default_connection(nowhere, known, server="other:2").server == "other:2"


def test_context__with_an_address_that_is_none_is_named(nowhere: dict[str, str]):
    known = contexts(Context(name="x", server="bad"), current="x")
    with pytest.raises(InvalidRequest, match="context 'x': server: invalid address 'bad'"):
        default_connection(nowhere, known)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\nb", "\x1b[31m", "-x", ".x", "../x", "a/b", "x" * 65, "\u202ex"]
)
def test_context__has_a_name_that_can_be_typed(name: str):
    with pytest.raises(InvalidRequest, match="of a context, expected 1 to 64 letters, digits"):
        contexts().with_context(Context(name=name, server="x:1"))


@pytest.mark.parametrize(
    "name", ["a", "production", "eu-1.example", "kim@prod", "\u00fc", "x" * 64]
)
def test_context__is_named_as_its_user_likes(name: str):
    assert contexts().with_context(Context(name=name, server="x:1")).current_name == name


def test_file__that_others_may_read_is_refused(nowhere: dict[str, str]):
    load_contexts(nowhere).with_context(PRODUCTION).save()
    path = load_contexts(nowhere).path
    path.chmod(0o644)
    with pytest.raises(InvalidRequest, match="run: chmod 600"):
        load_contexts(nowhere)


def test_file__of_a_newer_client_is_read_for_what_is_known(nowhere: dict[str, str]):
    path = load_contexts(nowhere).path
    path.parent.mkdir(parents=True)
    context = {"name": "x", "server": "s:1", "colour": "red"}
    path.write_text(json.dumps({"contexts": [context], "current": "x", "version": 2}))
    path.chmod(0o600)
    assert load_contexts(nowhere).current == Context(name="x", server="s:1")


def test_secrets__are_in_no_representation():
    assert "secret" not in repr(PRODUCTION)
    assert "secret" not in repr(Connection(server="x:1", token="secret"))


@pytest.mark.parametrize("token", ["a b", "a\nb", "\u00e4", "a\tb"])
def test_token__that_no_header_can_have_is_refused(token: str):
    with pytest.raises(InvalidRequest, match="token: "):
        Connection(server="x:1", token=token).metadata()


def test_token_of_the_environment__goes_to_the_server_of_the_environment_only(nowhere):
    given = nowhere | {"TENDHOST_SERVER": "prod:1", "TENDHOST_TOKEN": "t", "TENDHOST_CA": "/c"}
    staging = default_connection(given, contexts(), server="staging:1")
    assert (staging.token, staging.ca) == ("", "")
    assert default_connection(given, contexts(), server="prod:1").token == "t"


def test_token__goes_to_no_port_that_nobody_named(nowhere: dict[str, str]):
    of_environment = default_connection(nowhere | {"TENDHOST_TOKEN": "secret"}, contexts())
    of_login = replace(default_connection(nowhere, contexts()), token="secret")
    for found in (of_environment, of_login):
        assert found.server == DEFAULT_TARGET
        with pytest.raises(InvalidRequest, match="name the server") as refused:
            found.metadata()
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("named", [{"TENDHOST_SERVER": DEFAULT_TARGET}, {"TENDHOST_CA": "/ca.pem"}])
def test_token__goes_to_the_port_that_is_named_or_shows_its_certificate(
    nowhere: dict[str, str], named: dict[str, str]
):
    found = default_connection(nowhere | {"TENDHOST_TOKEN": "t"} | named, contexts())
    assert found.metadata() == (("authorization", "Bearer t"),)
    assert default_connection(
        nowhere | {"TENDHOST_TOKEN": "t"}, contexts(), server=DEFAULT_TARGET
    ).metadata()


def test_token__goes_to_the_socket_of_its_own_user(nowhere: dict[str, str], tmp_path: Path):
    with listening(tmp_path / "run/tendhost/tendhostd.sock"):
        found = default_connection(nowhere | {"TENDHOST_TOKEN": "t"}, contexts())
    # Without it, the call would be the local admin's, who may do more than the token.
    assert found.metadata() == (("authorization", "Bearer t"),)


@pytest.mark.parametrize("folder", ["run/tendhost", "system"])
def test_socket_of_somebody_else__is_taken_in_the_folder_of_the_system_only(
    nowhere: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
):
    monkeypatch.setattr("tendhost.client.connection.SYSTEM_FOLDER", tmp_path / "system")
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    monkeypatch.setattr("os.access", lambda path, mode: True)
    path = tmp_path / folder / "tendhostd.sock"
    with listening(path):
        found = default_connection(nowhere, contexts()).server
    assert found == (f"unix:{path}" if folder == "system" else DEFAULT_TARGET)


def test_localhost__is_one_address_where_calls_are_not_encrypted():
    assert Connection(server="localhost:50051").target == "127.0.0.1:50051"
    assert Connection(server="tls://localhost:50051").target == "localhost:50051"
    assert Connection(server="localhost:50051", ca="/ca.pem").target == "localhost:50051"


def test_socket__that_its_user_may_not_use_is_not_taken(
    nowhere: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "run/tendhost/tendhostd.sock"
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may use any
    with listening(path):
        assert default_connection(nowhere, contexts()).server == DEFAULT_TARGET


@pytest.mark.parametrize(
    "server",
    [
        *("127.0.0.1:50051", "localhost:1", "example.org:65535", "[::1]:50051", "unix:/run/x.sock"),
        *(
            "tls://127.0.0.1:50051",
            "mtls://example.org:1",
            "unix:relative.sock",
            "unix:///run/a b.sock",
            "tls://[2001:db8::1]:7",
        ),
    ],
)
def test_address__of_a_server_is_taken(server: str):
    assert Connection(server=server).server == server


@pytest.mark.parametrize(
    "server",
    [
        # gRPC takes a port modulo 65536, and 443 where there is none: another program would get the token.
        *("127.0.0.1:65536", "127.0.0.1:99999", "localhost", "example.org", "127.0.0.1:", ":50051"),
        *("unix://", "unix://host/x", "unix:/a%20b", "unix:/a?b", "unix:/a#b", "unix:/a\n"),
        *("", "unix:", "tls://", "tls://example.org", "mtls://:1", "::1:50051", "127.0.0.1:-1"),
        *(
            "http://localhost:50051",
            "grpc://x:1",
            "dns:///x:1",
            "unix-abstract:1",
            "x:http",
            "a b:1",
        ),
        *("127.0.0.1:\u0661", "tls://unix:1", "example.org:1/path", "user@example.org:1"),
    ],
)
def test_address__that_is_none_is_refused_before_anything_is_sent(server: str):
    with pytest.raises(InvalidRequest, match=r"server: invalid address .*, expected HOST:PORT"):
        Connection(server=server)


def test_addresses__of_one_server_are_taken_apart():
    several = Connection(server="tls://a:1, tls://[::1]:2,c:3", token="t", ca="/ca.pem")
    assert [each.target for each in several.addresses] == ["a:1", "[::1]:2", "c:3"]
    assert {(each.token, each.ca) for each in several.addresses} == {("t", "/ca.pem")}
    sockets = Connection(server="unix:/run/a.sock,127.0.0.1:1")
    assert [each.target for each in sockets.addresses] == ["unix:/run/a.sock", "127.0.0.1:1"]


@pytest.mark.parametrize("server", ["a:1,", ",a:1", "a:1,,b:2", "a:1;b:2", "a:1,b", "a:1,unix:"])
def test_addresses__of_which_one_is_none_are_refused(server: str):
    with pytest.raises(InvalidRequest, match=r"server: invalid address '.*', expected HOST:PORT"):
        Connection(server=server)


@pytest.mark.parametrize("server", ["127.0.0.1:1,example.org:1", "unix:/run/x,tls://[::1]:1"])
def test_addresses__of_which_only_some_have_tls_are_refused(server: str):
    with pytest.raises(InvalidRequest, match="some addresses have TLS and some have none"):
        Connection(server=server)


def test_token__that_no_server_takes_is_not_sent():
    longest = Connection(server="127.0.0.1:1", token="x" * LONGEST_TOKEN)
    assert longest.metadata()
    with pytest.raises(
        InvalidRequest, match="token: it has 16385 characters, and a server takes at most 16384"
    ):
        replace(longest, token="x" * (LONGEST_TOKEN + 1)).metadata()
