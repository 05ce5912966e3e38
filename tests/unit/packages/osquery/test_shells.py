"""The scripts for osqueryi in every shell that a host may have as sh, with a stand-in for osqueryi."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tendhost.server.domain.inventory.hardware import InventoryPart, Mount
from tendhost.server.packages.errors import PackageCommandFailed
from tendhost.server.packages.osquery import (
    MAX_SECONDS,
    OsqueryAnswer,
    osquery_lines,
    parse_answer,
    parse_rows,
    run_command,
)
from tendhost.server.packages.script import framed_script, parse_parts
from tests.tools import SHELLS

WANTED = (InventoryPart.MOUNTS, InventoryPart.CONTAINERS)
SCRIPT = framed_script(osquery_lines(WANTED))

# As osquery's shell does: one array for a line of standard input, an empty one where it failed.
STAND_IN = r"""#!/bin/sh
here=${0%/*}
printf '%s\n' "$*" >>"$here/calls"
if [ "$3" ]; then
  case $3 in *nonsense*) echo 'Error: no such table: nonsense' >&2; exit 1 ;; esac
  printf '[\n  {"1":"it'"'"'s"}\n]\n'; exit
fi
line=0; failed=0
while IFS= read -r statement; do
  line=$((line + 1)); table=${statement##* }; table=${table%;}
  if [ -e "$here/$table" ]; then cat "$here/$table"
  else printf '[\n\n]\n'; echo "Error: near line $line: no such table: $table" >&2; failed=1; fi
done
exit $failed
"""
TABLES = {
    "osquery_info": '{"version":"5.12.1"}',
    "mounts": '{"path":"/","device":"a","type":"b","blocks_size":"2","blocks":"3","blocks_available":"1"}',
    "docker_containers": "",
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    for name, row in TABLES.items():
        (tmp_path / name).write_text(f"[\n{row}\n]\n")
    program(tmp_path / "osqueryi", STAND_IN)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def run(shell: list[str], script: str, *path: Path) -> bytes:
    ran = subprocess.run(
        [*shell, "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        env={"PATH": ":".join((*map(str, path), "/usr/bin", "/bin"))},
        cwd="/",
    )
    assert ran.stderr == b""
    return ran.stdout


def answer(output: bytes) -> OsqueryAnswer | None:
    return parse_answer(parse_parts(output, expected=()), WANTED, architecture="x86_64")


@pytest.mark.parametrize("script", [SCRIPT, run_command("select 'it''s'")])
def test_the_script_is_well_formed(shell: list[str], script: str) -> None:
    checked = subprocess.run([*shell, "-n", "-c", script], check=True, capture_output=True)
    assert checked.stderr == b""


def test_one_call_answers_all_tables_but_those_that_are_not_there(
    shell: list[str], stand_in: Path
) -> None:
    found = answer(run(shell, SCRIPT, stand_in))
    assert found == OsqueryAnswer(
        version="5.12.1",
        mounts=(Mount(path="/", device="a", type="b", size_bytes=6, free_bytes=2),),
        containers=(),
        failed={"docker_images": "no such table: docker_images"},
    )
    assert (stand_in / "calls").read_text() == "--json --disable_extensions\n"


def test_osqueryi_has_a_bound_of_time_where_there_is_timeout(stand_in: Path) -> None:
    # In sh alone, for busybox takes its own timeout before the stand-in. That one refuses all but
    # the trial call, as if it had killed osqueryi.
    bound = '#!/bin/sh\necho "$@" >>"${0%/*}/bounds"; [ "$4" = true ] || exit 137\n'
    program(stand_in / "timeout", bound)
    program(stand_in / "sudo", "#!/bin/sh\nexit 1\n")
    killed = answer(run(["sh"], SCRIPT, stand_in))
    assert (stand_in / "bounds").read_text().splitlines() == [
        "-s KILL 1 true",
        f"-s KILL {MAX_SECONDS} {stand_in}/osqueryi --json --disable_extensions",
    ]
    assert killed is not None
    assert killed.failed["mounts"] == "osqueryi ended with 137"


def test_a_timeout_of_another_kind_is_not_used(stand_in: Path) -> None:
    program(stand_in / "timeout", "#!/bin/sh\nexit 1\n")
    found = answer(run(["sh"], SCRIPT, stand_in))
    assert found is not None
    assert found.mounts is not None


@pytest.mark.may_skip
@pytest.mark.skipif(os.getuid() == 0, reason="root needs no sudo")
def test_osqueryi_runs_as_root_where_sudo_lets_it(shell: list[str], stand_in: Path) -> None:
    program(stand_in / "sudo", '#!/bin/sh\nshift 2; echo "$@" >>"${0%/*}/asked"; exec "$@"\n')
    assert answer(run(shell, SCRIPT, stand_in)) is not None
    assert "osqueryi --json" in (stand_in / "asked").read_text()


@pytest.mark.may_skip
@pytest.mark.skipif(shutil.which("osqueryi") is not None, reason="osqueryi is here")
def test_without_osqueryi_there_is_no_answer_and_a_query_says_so(shell: list[str]) -> None:
    assert answer(run(shell, SCRIPT)) is None
    with pytest.raises(PackageCommandFailed, match="osqueryi is not on the host"):
        parse_rows(run(shell, run_command("select 1")))


def test_a_raw_query_is_asked_as_it_is(shell: list[str], stand_in: Path) -> None:
    sql = "select 'it''s' as \"$HOME\", `a` -- *"
    assert parse_rows(run(shell, run_command(sql), stand_in)) == ({"1": "it's"},)
    assert (stand_in / "calls").read_text() == (
        "--json --disable_extensions select 'it''s' as \"$HOME\", `a`\n"
    )
    with pytest.raises(PackageCommandFailed, match="no such table: nonsense"):
        parse_rows(run(shell, run_command("select * from nonsense"), stand_in))
