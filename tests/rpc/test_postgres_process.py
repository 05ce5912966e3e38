"""`tendhostd` on PostgreSQL: it serves, another one takes over where it stopped, and nothing tells the password."""

from pathlib import Path
from signal import SIGTERM

import pytest

from tendhost.server.main import main
from tendhost.v1 import selection_service_pb2, selection_service_pb2_grpc
from tests.cluster.single import shared
from tests.rpc.process import channel_to, ended, serving_process
from tests.tools import needs

pytestmark = needs("psql")

PASSWORD = "correct-horse"  # of a database that a test has made
REFUSED, CANNOT_SERVE = 2, 1


@pytest.fixture
def address() -> str:
    (name,) = shared().create()
    return shared().address(name)


async def test_two_servers__serve_what_either_has_stored(tmp_path: Path, address: str):
    async with (
        serving_process(tmp_path, "--store", address, state=tmp_path / "one") as one,
        serving_process(tmp_path, "--store", address, state=tmp_path / "two") as two,
    ):
        async with channel_to(one) as channel:
            selections = selection_service_pb2_grpc.SelectionServiceStub(channel)
            request = selection_service_pb2.CreateSelectionRequest(name="berlin")
            await selections.CreateSelection(request)
        async with channel_to(two) as channel:
            selections = selection_service_pb2_grpc.SelectionServiceStub(channel)
            answer = await selections.ListSelections(selection_service_pb2.ListSelectionsRequest())
            assert [selection.name for selection in answer.selections] == ["berlin"]
        for server in (one, two):
            assert (await server.ended_after(SIGTERM)).status == 0


async def test_password__is_in_no_line_of_the_server(tmp_path: Path, address: str):
    told = []
    wrong = address.replace("postgres@", f"nobody:{PASSWORD}@")
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    for store, environment in (
        (wrong, {}),
        (f"{wrong}?sslmode={PASSWORD}", {}),
        (f"{wrong.replace('postgresql', 'postgrsql')}", {}),
        (f"{address}?password_file={file}&application_name={PASSWORD}&sslmode=require", {}),
        (f"{address}?password_file={file}.none", {}),
        (f"{address}none", {"PGPASSWORD": PASSWORD}),
    ):
        given = {"TENDHOST_STORE": store, **environment}
        end = await ended(tmp_path, "--listen", "127.0.0.1:0", **given)
        assert end.status == CANNOT_SERVE, end
        told.append(str(end))
    assert PASSWORD not in "".join(told)


@pytest.mark.parametrize("command", [("backup", "copy"), ("restore", "copy"), ("audit", "verify")])
def test_commands_for_files__say_what_to_use_instead(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    assert main(["--store", "postgresql://db/tendhost", *command]) == REFUSED
    assert "pg_dump" in capsys.readouterr().err
