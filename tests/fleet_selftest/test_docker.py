"""Hosts with docker: images from the lab's registry, and both versions of docker compose."""

import urllib.request
from collections.abc import Iterator

import pytest

from tests.fleet import Fleet, FleetError, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

FOLDER = "/opt/my stacks/app"
STACK = """\
version: "3"
services:
  web:
    image: {registry}/app:1
    init: true
    restart: unless-stopped
    ports: ["8080:80"]
"""


@pytest.fixture(scope="module")
def docker_fleet(able: None) -> Iterator[Fleet]:
    specs = [
        HostSpec(name="v2", docker=True, packages=()),
        HostSpec(name="v1", compose="v1", packages=()),
        HostSpec(name="plain", packages=()),
    ]
    with Fleet(specs) as fleet:
        yield fleet


@pytest.fixture(params=["v2", "v1"])
def host(docker_fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[Host]:
    host = docker_fleet[request.param]
    docker_fleet.registry.push("app", text="one")
    host.write_stack(FOLDER, STACK.format(registry=docker_fleet.registry.address))
    host.compose_up(FOLDER)
    yield host
    host.compose_run(FOLDER, "down --rmi all")


def served(host: Host) -> str:
    assert health(host) == "healthy"
    with urllib.request.urlopen(f"http://{host.address}:8080/", timeout=5) as answer:
        return str(answer.read().decode().strip())


def health(host: Host) -> str:
    look = "docker inspect --format {{.State.Health.Status}} $(docker ps -q)"
    wait = f'while [ "$({look})" = starting ]; do sleep 0.1; done; {look}'
    return host.output(wait, timeout=20)


def test_moved_tag_is_served_after_pull_and_up(docker_fleet: Fleet, host: Host) -> None:
    assert served(host) == "one"
    docker_fleet.registry.push("app", text="two")
    host.compose_up(FOLDER)
    assert served(host) == "one"
    host.compose_run(FOLDER, "pull")
    host.compose_up(FOLDER)
    assert served(host) == "two"


@pytest.mark.parametrize(("healthy", "found"), [(True, "healthy"), (False, "unhealthy")])
def test_health_check_finds_what_was_asked_for(
    docker_fleet: Fleet, host: Host, healthy: bool, found: str
) -> None:
    docker_fleet.registry.push("app", text="checked", healthy=healthy)
    host.compose_run(FOLDER, "pull")
    host.compose_up(FOLDER)
    assert health(host) == found


def test_same_image_has_the_same_digest_and_an_old_one_stays(
    docker_fleet: Fleet, host: Host
) -> None:
    registry = docker_fleet.registry
    old = registry.push("app", text="old")
    assert registry.push("app", text="new") != old
    assert registry.push("app", text="old") == old
    registry.push("app", text="new")
    host.run(f"docker pull {registry.address}/app@{old}", check=True)


def test_stopped_registry_refuses_and_has_everything_when_it_is_back(
    docker_fleet: Fleet, host: Host
) -> None:
    registry = docker_fleet.registry
    registry.stop()
    assert "connection refused" in host.run(f"docker pull {registry.address}/app:1").stderr
    registry.start()
    host.run(f"docker pull {registry.address}/app:1", check=True)


def test_containers_and_images_survive_a_reboot(docker_fleet: Fleet, host: Host) -> None:
    boots = host.boot_count
    host.run("reboot")
    host.wait_up(boots=boots + 1)
    assert served(host) == "one"


def test_host_without_docker_has_none(docker_fleet: Fleet) -> None:
    assert docker_fleet["plain"].run("command -v docker || ls -d /var/lib/docker").returncode != 0


def test_docker_without_systemd_is_refused() -> None:
    with pytest.raises(FleetError, match="needs systemd"):
        Fleet([HostSpec(docker=True, init="tiny")])
