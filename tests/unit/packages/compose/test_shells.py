"""The scripts in every shell that a host may have as sh."""

import shutil
import subprocess

import pytest

from tendhost.server.domain.inventory.compose import ComposeVersion
from tendhost.server.packages.compose.commands import find_compose
from tendhost.server.packages.compose.image_updates import image_updates_script
from tendhost.server.packages.compose.inspect import inspect_lines, parse_inspection
from tendhost.server.packages.compose.update import UpdateOptions, update_script
from tendhost.server.packages.facts import AS_ROOT_OR_USER
from tendhost.server.packages.script import framed_script, parse_parts
from tests.tools import SHELLS
from tests.unit.packages.compose.recordings import inspect

V1 = ComposeVersion.V1
PROJECTS = inspect("v2/inspect").projects
ROOT = f'privileged=0; as_root() {{ "$@"; }}\n{AS_ROOT_OR_USER}'
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


PODMAN = r"""#!/bin/sh
# The wrapper of Debian's podman-docker 4.3.1, and what podman says of itself.
echo 'Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.' >&2
case $1 in --version) echo 'podman version 4.3.1' ;; *) echo 'Error: no such call' >&2; exit 125 ;; esac
"""
SOCKET = r"""#!/bin/sh
# docker, connected to the socket of podman: the components as podman 4.3.1 lists them.
case $1 in
  --version) echo 'Docker version 20.10.24+dfsg1, build 297e128' ;;
  version) case $3 in *Components*) echo 'Podman Engine Conmon OCI Runtime (crun) ' ;; *) echo 4.3.1 ;; esac ;;
esac
"""
DOWN = r"""#!/bin/sh
case $1 in
  --version) echo 'Docker version 20.10.24+dfsg1, build 297e128' ;;
  *) echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2
    exit 1 ;;
esac
"""
FIND = "#!/bin/sh\necho /run/user/1000/docker.sock\n"


@pytest.mark.parametrize(
    ("programs", "problem"),
    [
        ({"docker": PODMAN, "podman": ""}, "docker is podman on this host, which is not supported"),
        ({"docker": SOCKET}, "docker is podman on this host, which is not supported"),
        ({"podman": ""}, "podman is not supported"),
        (
            {"docker": DOWN, "find": FIND},
            "Cannot connect to the Docker daemon; docker of the user 1000 (rootless) is not supported:"
            " tendhost asks docker of root",
        ),
    ],
)
def test_inspection_of_another_engine_says_that_it_is_not_supported(
    shell: list[str], tmp_path, programs: dict[str, str], problem: str
) -> None:
    for command in ("sh", "cat", "awk", "sed", "tail", "find"):
        (tmp_path / command).symlink_to(shutil.which(command) or "")
    for command, text in programs.items():
        (tmp_path / command).unlink(missing_ok=True)
        (tmp_path / command).write_text(text or "#!/bin/sh\nexit 1\n")
        (tmp_path / command).chmod(0o755)
    done = subprocess.run(
        [str(shutil.which(shell[0])), *shell[1:], "-c", INSPECT.replace(":/usr/sbin:/sbin", "")],
        capture_output=True,
        check=True,
        env={"PATH": str(tmp_path)},
    )
    seen = parse_inspection(parse_parts(done.stdout, expected=()))
    assert seen.problem == problem
    assert {project.problem for project in seen.projects} == {problem}
    assert (seen.docker, seen.containers) == ("", ())


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("docker-compose version 1.29.2, build unknown", "docker-compose"),
        ("Docker Compose version v2.26.1", "docker-compose"),
        # podman_compose.py 1.0.6: `version`, which with --short is a bare number.
        ("podman-compose version 1.0.6\nusing podman version: 4.3.1", ""),
    ],
)
def test_docker_compose_is_not_taken_for_podman_compose(
    shell: list[str], tmp_path, answer: str, found: str
) -> None:
    program = tmp_path / "docker-compose"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    done = subprocess.run(
        [str(shutil.which(shell[0])), *shell[1:], "-c", f'{find_compose(V1)}\necho "$compose"'],
        capture_output=True,
        check=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.stdout.strip() == found
