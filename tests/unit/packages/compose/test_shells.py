"""The scripts in every shell that a host may have as sh."""

import shutil
import subprocess

import pytest

from tendhost.server.packages.compose.image_updates import image_updates_script
from tendhost.server.packages.compose.inspect import inspect_lines, parse_inspection
from tendhost.server.packages.compose.update import UpdateOptions, update_script
from tendhost.server.packages.script import framed_script, parse_parts
from tests.tools import SHELLS
from tests.unit.packages.compose.recordings import inspect

PROJECTS = inspect("v2/inspect").projects
ROOT = 'privileged=0; as_root() { "$@"; }'
INSPECT = framed_script(ROOT, inspect_lines(["/opt/my stacks/it's", "/opt/b"]))
SCRIPTS = {
    "inspect": INSPECT,
    "update": update_script(PROJECTS, UpdateOptions()),
    "images": image_updates_script(PROJECTS),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_is_well_formed(shell: list[str], name: str) -> None:
    command = [*shell, "-n", "-c", SCRIPTS[name]]
    checked = subprocess.run(command, check=True, capture_output=True, text=True)
    assert checked.stderr == ""


def test_inspection_where_there_is_no_docker_says_so(shell: list[str], tmp_path) -> None:
    # Nothing of the machine's: docker may well be there.
    for command in ("sh", "cat", "awk"):
        (tmp_path / command).symlink_to(shutil.which(command) or "")
    program = shutil.which(shell[0])
    done = subprocess.run(
        [str(program), *shell[1:], "-c", INSPECT.replace(":/usr/sbin:/sbin", "")],
        capture_output=True,
        check=True,
        env={"PATH": str(tmp_path)},
    )
    seen = parse_inspection(parse_parts(done.stdout, expected=()))
    assert seen.docker == seen.problem == ""
    assert [project.path for project in seen.projects] == ["/opt/my stacks/it's", "/opt/b"]
    assert {project.problem for project in seen.projects} == {"there is no docker on this host"}
