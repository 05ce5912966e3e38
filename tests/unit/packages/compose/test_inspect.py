"""What recorded inspections of docker and docker compose mean."""

import pytest

from tendhost.server.domain.inventory.compose import ComposeVersion
from tendhost.server.packages.compose.inspect import (
    ComposeInspection,
    familiar,
    inspect_lines,
    parse_inspection,
)
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.script import Part, parse_parts
from tests.unit.packages.compose.recordings import (
    APP,
    BROKEN,
    NONE,
    STOPPED,
    VERSIONS,
    inspect,
    recorded,
)

ONE = "sha256:0918cfaa0d0852efc2585acd205917418c62e02e35b6589bc8eecc298cd181df"
PLAIN = "sha256:d5c2f35dbe110733159d8a0abee8c836ebc675f8e8f9fd05e4bc6f882b2f2ee4"

every_version = pytest.mark.parametrize("version", VERSIONS)


@every_version
def test_each_service_is_told_with_what_it_runs(version: str) -> None:
    project = inspect(f"{version}/inspect").projects[0]
    assert (project.path, project.version, project.problem) == (APP, version, "")
    pinned, plain, web = project.services
    assert (pinned.name, plain.name, web.name) == ("pinned", "plain", "web")
    assert (pinned.pinned, plain.pinned, web.pinned) == (True, False, False)
    assert web.image == "registry.example.org/app:1"
    assert web.image_id == web.local_id == ONE
    assert web.digest.startswith("sha256:dcdaf5e0")
    assert (web.state, web.health) == ("running", "healthy")
    assert web.container == {"v2": "app-web-1", "v1": "app_web_1"}[version]
    assert pinned.image_id == pinned.local_id == plain.image_id == PLAIN
    assert pinned.image.endswith(f"@{pinned.digest}")
    assert plain.health == ""


@every_version
def test_what_is_wrong_with_a_project_is_told_of_that_one_alone(version: str) -> None:
    _, broken, none, _ = inspect(f"{version}/inspect").projects
    assert (broken.path, none.path) == (BROKEN, NONE)
    assert "mapping values are not allowed" in broken.problem
    assert none.problem == "this folder cannot be entered"
    assert broken.services == none.services == ()


@every_version
def test_a_stopped_project_runs_nothing_and_its_images_are_there(version: str) -> None:
    stopped = inspect(f"{version}/inspect").projects[3]
    assert (stopped.path, stopped.problem) == (STOPPED, "")
    for service, local_id in zip(stopped.services, (PLAIN, ONE), strict=True):
        assert (service.image_id, service.state, service.health) == ("", "exited", "")
        assert service.local_id == local_id


@every_version
def test_the_inventory_has_every_container_and_image_once(version: str) -> None:
    seen = inspect(f"{version}/inspect")
    assert seen.docker == "20.10.24+dfsg1"
    names = [container.name for container in seen.containers]
    assert names == sorted(names)
    assert len(names) == len(set(names)) == 6
    alone = next(container for container in seen.containers if container.name == "alone")
    assert (alone.image, alone.image_id) == ("registry.example.org/plain:1", PLAIN)
    assert alone.state == "running"
    assert alone.status.startswith("Up ")
    assert {image.id: image.tags for image in seen.images} == {
        ONE: ("registry.example.org/app:1",),
        PLAIN: ("registry.example.org/plain:1",),
    }
    assert seen.images[0].size_bytes > 10**6
    assert seen.images[0].digests[0].startswith("registry.example.org/app@sha256:")


@every_version
def test_no_paths_give_containers_and_images_only(version: str) -> None:
    seen = inspect(f"{version}/inspect-no-paths")
    assert seen.containers
    assert seen.images
    assert seen.projects == ()


@every_version
def test_a_docker_without_anything_is_told_from_none(version: str) -> None:
    assert inspect(f"{version}/inspect-empty") == ComposeInspection(docker="20.10.24+dfsg1")


@every_version
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no-docker", "there is no docker on this host"),
        ("no-daemon", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."),
        ("no-compose", "neither `docker compose` nor `docker-compose` is there"),
    ],
)
def test_a_project_that_cannot_be_asked_about_says_why(
    version: str, name: str, problem: str
) -> None:
    seen = inspect(f"{version}/inspect-{name}")
    (project,) = seen.projects
    assert (project.path, project.version) == (APP, None)
    assert project.problem.startswith(problem)
    assert bool(seen.docker) == (name == "no-compose")
    assert bool(seen.problem) == (name == "no-daemon")


def with_config(config: str) -> ComposeInspection:
    """A project inspected with this configuration, in lines that the host let pass."""
    parts = dict(parse_parts(recorded("v2/inspect"), expected=()))
    parts["compose_paths"] = Part(0, "auto\n/opt/x", "")
    parts["compose_0"] = Part(0, f"{config}.", "")
    return parse_inspection(parts)


def test_a_service_that_is_built_on_the_host_has_no_image() -> None:
    (project,) = with_config("  web:\n  built:\n").projects
    assert [(service.name, service.image) for service in project.services] == [
        ("built", ""),
        ("web", ""),
    ]


def test_names_that_yaml_quotes_are_understood() -> None:
    (project,) = with_config("  \"1\":\n    image: 'a:1'\n  'on':\n    image: b\n").projects
    assert [(service.name, service.image) for service in project.services] == [
        ("1", "a:1"),
        ("on", "b"),
    ]


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("1.29.2", ComposeVersion.V1),
        ("v2.40.3", ComposeVersion.V2),
        ("2.26.1-4", ComposeVersion.V2),
        ("10.0.0", ComposeVersion.V2),
        ("dev", ComposeVersion.V2),
    ],
)
def test_the_version_is_known_by_its_words(words: str, version: ComposeVersion) -> None:
    parts = dict(parse_parts(recorded("v2/inspect"), expected=()))
    parts["compose"] = Part(0, words, "")
    assert parse_inspection(parts).projects[0].version is version


def test_a_project_without_services_has_none() -> None:
    (project,) = with_config("").projects
    assert (project.problem, project.services) == ("", ())


@pytest.mark.parametrize("line", ["  a b:", "    image: x", "    image: x y", "secret"])
def test_a_line_of_another_kind_is_refused(line: str) -> None:
    with pytest.raises(ParseFailed, match=line.strip()):
        with_config(f"{line}\n")


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("nginx", "nginx:latest"),
        ("library/nginx:1", "nginx:1"),
        ("docker.io/library/nginx", "nginx:latest"),
        ("docker.io/me/app", "me/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("host:5000/app:1@sha256:ab", "host:5000/app@sha256:ab"),
        ("app@sha256:ab", "app@sha256:ab"),
    ],
)
def test_a_reference_is_known_by_the_name_that_docker_gives_it(reference: str, name: str) -> None:
    assert familiar(reference) == name


def test_a_path_is_quoted_where_it_is_used_and_one_word_where_it_is_told() -> None:
    lines = inspect_lines(["/opt/it's here; reboot"], version=ComposeVersion.V1)
    assert "v1 /opt/it%27s%20here%3B%20reboot\n" in lines
    assert "sh '/opt/it'\"'\"'s here; reboot' $compose" in lines
    assert "for candidate in docker-compose; do" in lines


def test_the_script_of_a_project_is_there_once_however_many_projects_are_asked_about() -> None:
    def size(number: int) -> int:
        return len(inspect_lines([f"/opt/{at}" for at in range(10, 10 + number)]))

    assert size(10) - size(2) == 4 * (size(4) - size(2))
    assert size(3) - size(2) < 150
