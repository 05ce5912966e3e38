"""What the script that updates a project does, with a fake docker, and a clock that `sleep` alone moves."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tendhost.server.domain.inventory.compose import (
    ComposeProject,
    ComposeService,
    ProjectChange,
    ProjectOutcome,
)
from tendhost.server.packages.compose.project_settings import UNLIKE
from tendhost.server.packages.compose.update import UpdateOptions, parse_update, update_script
from tests.tools import SHELLS
from tests.unit.packages.compose import fake_docker

SECOND = timedelta(seconds=1)
RATE = "toomanyrequests: You have reached your pull rate limit"


@dataclass
class Host:
    """A project of services, each of which runs the image "NAME:1", whose id is "NAME-old"."""

    path: Path
    state: dict  # type: ignore[type-arg]
    shell: tuple[str, ...] = ("sh",)

    def move(self, *services: str, **becomes: object) -> None:
        """The tag of each of these names another image in the registry, and its container so becomes."""
        for name in services:
            self.state["registry"][f"{name}:1"] = f"{name}-new"
            self.state["becomes"][f"{name}-new"] = becomes

    def container(self, service: str) -> dict:  # type: ignore[type-arg]
        return next(one for one in self.state["containers"] if one["service"] == service)

    def projects(self) -> list[ComposeProject]:
        """As they were looked at: with everything running."""
        services = [
            ComposeService(
                name=name,
                image=image,
                image_id=self.state["tags"][image],
                local_id=self.state["tags"][image],
            )
            for name, image in self.state["services"].items()
        ]
        return [ComposeProject(path=str(self.path / "app"), version=None, services=tuple(services))]

    def update(self, script: str = "") -> ProjectChange:
        done = self.run(script)
        (change,) = parse_update(done.stdout)
        assert not self.records(), "the record is left"
        return change

    def cut_off(self, at: str) -> None:
        """An update that ends at its first command with these words, as by a power cut."""
        self.state["cut_off_at"] = at
        assert self.run().returncode == -signal.SIGKILL
        del self.state["cut_off_at"]
        assert self.records()

    def records(self) -> list[Path]:
        return [path for path in (self.path / "op").iterdir() if path.is_file()]

    def run(self, script: str = "") -> subprocess.CompletedProcess[bytes]:
        (self.path / "state.json").write_text(json.dumps(self.state))
        options = UpdateOptions(settle=SECOND, health_timeout=5 * SECOND, pull_pauses=(SECOND,))
        job = self.path / "op" / "compose-1"
        job.mkdir(parents=True, exist_ok=True)
        script = script or update_script(self.projects(), options)
        (job / "cmd").write_text(script.replace("/proc/uptime", f"{self.path}/uptime"))
        done = subprocess.run(
            [*self.shell, str(job / "cmd")],
            env={"PATH": f"{self.path}/bin:/usr/bin:/bin"},
            capture_output=True,
            check=False,
            start_new_session=True,
        )
        self.state = json.loads((self.path / "state.json").read_text())
        return done

    def calls(self, kind: str) -> list[list[str]]:
        return [call for call in self.state["calls"] if call[0] == kind]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for name in ("app", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "app" / "compose.yaml").touch()
    fake = tmp_path / "bin" / "docker"
    fake.write_text(
        f'#!/bin/sh\nexec {sys.executable} -ISE {fake_docker.__file__} {tmp_path}/state.json "$@"\n'
    )
    fake.chmod(0o755)
    (tmp_path / "uptime").write_text("100.00 0\n")
    sleep = tmp_path / "bin" / "sleep"
    sleep.write_text(
        f"#!/bin/sh\nread -r now _ <{tmp_path}/uptime\n"
        f'echo "$((${{now%%.*}} + $1)).00 0" >{tmp_path}/uptime\n'
    )
    sleep.chmod(0o755)
    services = ("web", "db")
    state = {
        "folder": str(tmp_path / "app"),
        "services": {name: f"{name}:1" for name in services},
        "tags": {f"{name}:1": f"{name}-old" for name in services},
        "registry": {f"{name}:1": f"{name}-old" for name in services},
        "containers": [
            {"service": name, "image": f"{name}-old", "id": f"{name}-id", "status": "running"}
            for name in services
        ],
        "built": [],
        "errors": {},
        "becomes": {},
        "calls": [],
        "made": 0,
    }
    return Host(tmp_path, state)


@pytest.mark.parametrize("shell", SHELLS)
def test_update__brings_up_what_ran(host: Host, shell: tuple[str, ...]) -> None:
    host.shell = shell
    host.move("web")
    change = host.update()
    assert (change.outcome, change.problem) == (ProjectOutcome.UPDATED, "")
    assert {s.service: s.after for s in change.services} == {"web": "web-new", "db": "db-old"}
    (up,) = host.calls("up")
    assert up[-6:] == ["--scale", "web=1", "--scale", "db=1", "web", "db"]
    assert "--no-deps" in up


def test_update__keeps_the_number_of_containers(host: Host) -> None:
    host.state["containers"] += [host.container("web") | {"id": f"web-{n}"} for n in (2, 3)]
    host.move("web")
    assert host.update().outcome is ProjectOutcome.UPDATED
    assert "web=3" in host.calls("up")[0]


@pytest.mark.parametrize("status", ["exited", "paused"])
def test_service__that_does_not_run_any_more_is_left_alone(host: Host, status: str) -> None:
    """A person stopped or paused it, or its task has ended, after it was looked at."""
    host.container("db")["status"] = status
    host.move("web", "db")
    change = host.update()
    assert change.outcome is ProjectOutcome.UPDATED, change
    assert host.container("db") == host.container("db") | {"id": "db-id", "status": status}
    assert host.calls("up")[0][-1] == "web"
    assert host.calls("pull") == [["pull", "web"]]


def test_service__without_a_container_is_brought_up(host: Host) -> None:
    host.state["containers"].pop()
    change = host.update()
    assert change.outcome is ProjectOutcome.UNCHANGED
    assert host.container("db")["status"] == "running"


def test_service__of_which_a_part_runs_is_not_recreated(host: Host) -> None:
    host.state["containers"].append(host.container("web") | {"id": "two", "status": "exited"})
    host.move("web")
    change = host.update()
    assert change.outcome is ProjectOutcome.FAILED
    assert "only some containers of web are running" in change.problem
    assert host.state["tags"]["web:1"] == "web-old"
    assert host.calls("up") == []


@pytest.mark.parametrize("at", ["config -q", "pull -q"])
def test_update__that_was_cut_off_refuses_what_it_would_have_refused(host: Host, at: str) -> None:
    """While the settings differ, and while one of two containers has stopped."""
    host.move("web")
    host.container("web")["hash"] = "another"
    host.cut_off(at)
    change = host.update()
    assert (change.outcome, change.problem) == (ProjectOutcome.FAILED, f"web: {UNLIKE}")

    del host.container("web")["hash"]
    for number in (2, 3):
        other = {"id": f"{number}", "status": "exited"}
        host.state["containers"].append(host.container("web") | other)
    host.state["tags"]["web:1"] = "web-old"
    host.cut_off(at)
    change = host.update()
    assert change.outcome is ProjectOutcome.FAILED
    assert "only some containers of web are running" in change.problem
    assert host.calls("up") == []


@pytest.mark.parametrize("at", ["config -q", "pull -q"])
def test_update__that_was_cut_off_goes_on(host: Host, at: str) -> None:
    host.move("web")
    host.cut_off(at)
    assert host.update().outcome is ProjectOutcome.UPDATED
    assert host.calls("up")[0][-2:] == ["web", "db"]


@pytest.mark.parametrize("health", ["unhealthy", "starting"])
def test_neighbour__that_was_not_healthy_before_is_no_fault(host: Host, health: str) -> None:
    host.container("db")["health"] = health
    host.move("web")
    assert host.update().outcome is ProjectOutcome.UPDATED


def test_update__waits_for_the_verdict_of_docker(host: Host) -> None:
    """In a start period of 6 s: the container is starting still, which is no reason to put it back."""
    host.move("web", health="starting", check="6000000000:1000000000:1000000000:1")
    change = host.update()
    assert change.outcome is ProjectOutcome.UPDATED
    assert change.problem == "web is running and starting after 10 s"
    assert len(host.calls("up")) == 1


def test_update__is_good_where_docker_decides_so_after_the_time_limit(host: Host) -> None:
    host.move("web", health="starting", healthy_at=108, check="6000000000:1000000000:1000000000:1")
    change = host.update()
    assert (change.outcome, change.problem) == (ProjectOutcome.UPDATED, "")


def test_update__that_is_unhealthy_is_put_back(host: Host) -> None:
    host.move("web", health="unhealthy")
    change = host.update()
    assert change.outcome is ProjectOutcome.ROLLED_BACK
    assert change.problem == "web is running and unhealthy after 5 s"
    assert host.state["tags"]["web:1"] == host.container("web")["image"] == "web-old"


def test_registry__that_asks_for_a_pause_is_asked_again(host: Host) -> None:
    host.move("web")
    host.state["errors"]["web"] = [RATE]
    assert host.update().outcome is ProjectOutcome.UPDATED
    assert len(host.calls("pull")) == 2


@pytest.mark.parametrize(
    "error",
    [
        RATE,
        "received unexpected HTTP status: 503 Service Unavailable",
        "unexpected EOF",
    ],
)
def test_project__whose_registry_cannot_for_now_is_deferred(host: Host, error: str) -> None:
    host.move("web", "db")
    host.state["errors"]["web"] = [error] * 9
    change = host.update()
    assert change.outcome is ProjectOutcome.DEFERRED
    assert change.problem.startswith("the images cannot be pulled: ")
    assert host.calls("up") == []
    assert host.state["tags"] == {"web:1": "web-old", "db:1": "db-old"}


@pytest.mark.parametrize(
    "error", ["unauthorized: authentication required", "connect: connection refused"]
)
def test_project__whose_registry_needs_a_person_fails(host: Host, error: str) -> None:
    host.move("web")
    host.state["errors"]["web"] = [error] * 9
    assert host.update().outcome is ProjectOutcome.FAILED
    assert host.calls("up") == []


@pytest.mark.parametrize("built", [["db"], []], ids=["built", "loaded or tagged"])
def test_image__of_no_registry_does_not_hold_the_project_back(host: Host, built: list[str]) -> None:
    del host.state["registry"]["db:1"]
    host.state["built"] = built
    host.move("web")
    change = host.update()
    assert change.outcome is ProjectOutcome.UPDATED, change
    assert host.container("db")["id"] == "db-id"


def test_image__that_its_registry_has_lost_fails_the_project(host: Host) -> None:
    host.move("web")
    host.state["errors"]["db"] = ["manifest for db:1 not found: manifest unknown"] * 9
    change = host.update()
    assert change.outcome is ProjectOutcome.FAILED
    assert "db:1: manifest unknown" in change.problem
