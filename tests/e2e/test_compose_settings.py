"""Compose projects that were not started by a plain `up`, and what else real projects are like."""

from datetime import timedelta
from shlex import quote

import pytest

from tendhost.server.domain.inventory.compose import ProjectOutcome
from tendhost.server.packages.compose.project_settings import UNLIKE
from tests.e2e.test_compose_scripts import (
    APP,
    containers,
    fleet,
    host,
    inspect,
    run,
    script_for,
    update,
    web,
    write,
)

__all__ = ["fleet", "host"]

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]


def facts(host, template: str, service: str = "web") -> set[str]:
    """What docker says of the containers of a service."""
    wanted = f"label=com.docker.compose.service={service}"
    ids = f"$(docker ps -aq --filter {wanted})"
    return set(host.output(f"docker inspect --format {quote(template)} {ids}").split("\n"))


def test_settings_of_the_start_are_kept(fleet, host):
    """Several files, another name, an environment file, a number, a profile; what was stopped stays so."""
    image = f"{fleet.registry.address}/app:1"
    more = (
        "    environment: {MODE: dev, FROM: '${FROM-nowhere}'}\n    env_file: web.env\n"
        f"  stopped:\n    image: {image}\n    init: true\n"
        f"  extra:\n    image: {image}\n    init: true\n    profiles: [extra]\n"
    )
    write(fleet, host, APP, more=more)
    host.run(
        f"cd {quote(APP)} && sed -i \"s/version: '3'/version: '3.9'/\" docker-compose.yml &&"
        " printf \"version: '3.9'\\nservices:\\n  web:\\n    restart: always\\n"
        '    environment: {MODE: prod}\\n" >prod.yaml && echo A=1 >web.env && echo FROM=here >prod.env',
        check=True,
    )
    host.compose_run(APP, "down")
    flags = "-f docker-compose.yml -f prod.yaml -p other --env-file prod.env --profile extra"
    host.compose_run(APP, f"{flags} up -d --scale web=3")
    host.compose_run(APP, f"{flags} stop stopped")
    (old,) = facts(host, "{{.Image}}")
    fleet.registry.push("app", text="two")
    (project,) = inspect(host, APP).projects
    assert (project.problem, project.obstacle) == ("", "")
    (change,) = update(host, APP)
    assert (change.outcome, change.problem) == (ProjectOutcome.UPDATED, "")
    (new,) = facts(host, "{{.Image}}")
    assert new != old
    assert facts(host, "{{.Image}} {{.State.Status}}", "extra") == {f"{new} running"}
    assert facts(host, "{{.Image}} {{.State.Status}}", "stopped") == {f"{old} exited"}
    assert facts(host, "{{.HostConfig.RestartPolicy.Name}}") == {"always"}
    for environment in facts(host, "{{.Config.Env}}"):
        assert {"MODE=prod", "FROM=here", "A=1"} <= set(environment.strip("[]").split())
    assert len(facts(host, "{{.Name}}")) == 3
    assert facts(host, '{{index .Config.Labels "com.docker.compose.project"}}') == {"other"}


def test_settings_that_are_told_nowhere_are_not_lost(fleet, host):
    write(fleet, host, APP, more="    environment: {MODE: '${MODE-dev}'}\n    env_file: web.env\n")
    host.run(f"echo A=1 >{quote(APP)}/web.env", check=True)
    command = "docker compose" if host.compose == "v2" else "docker-compose"
    host.run(f"cd {quote(APP)} && MODE=prod {command} up -d", check=True)
    before = containers(host)
    assert inspect(host, APP).projects[0].obstacle.startswith("web: ")
    assert update(host, APP)[0].outcome is ProjectOutcome.UNCHANGED
    fleet.registry.push("app", text="two")
    (change,) = update(host, APP)
    assert change.outcome is ProjectOutcome.FAILED
    assert change.problem == f"web: {UNLIKE}"
    assert containers(host) == before
    assert web(host).local_id == web(host).image_id
    # Somebody has pulled meanwhile, which is no reason to lose them, or to refuse a project without any.
    host.compose_run(APP, "pull -q")
    (change,) = update(host, APP, pull=False)
    assert change.problem == f"web: {UNLIKE}"
    host.compose_up(APP)
    fleet.registry.push("app", text="three")
    host.compose_run(APP, "pull -q")
    assert update(host, APP, pull=False)[0].outcome is ProjectOutcome.UPDATED


def test_task_that_has_ended_since_the_look_is_not_started_again(fleet, host):
    task = "  task:\n    image: {}/task:1\n    init: true\n    command: [sleep, '6']\n"
    fleet.registry.push("task", text="task", healthy=None, command=())
    more = task.format(fleet.registry.address).replace("[sleep", "[/bin/busybox, sleep")
    write(fleet, host, APP, more=more)
    host.compose_up(APP)
    script = script_for(host, APP)
    (started,) = facts(host, "{{.State.StartedAt}}", "task")
    fleet.registry.push("app", text="two")
    fleet.registry.push("task", text="two", healthy=None, command=())
    host.run("docker wait $(docker ps -q --filter label=com.docker.compose.service=task)")
    (change,), _ = run(host, script)
    assert change.outcome is ProjectOutcome.UPDATED, change
    assert facts(host, "{{.State.StartedAt}}", "task") == {started}


@pytest.mark.parametrize("status", [429, 503])
def test_registry_that_cannot_for_now_defers_the_project(fleet, host, status):
    fleet.registry.push("app", text="two")
    before = containers(host)
    fleet.registry.answer(status)
    (change,) = update(host, APP, pull_pauses=(timedelta(seconds=1),))
    assert change.outcome is ProjectOutcome.DEFERRED, change
    assert str(status) in change.problem
    assert containers(host) == before
    fleet.registry.stop()
    fleet.registry.start()
    assert update(host, APP)[0].outcome is ProjectOutcome.UPDATED


def test_images_of_no_registry_do_not_keep_a_project_from_its_update(fleet, host):
    address = fleet.registry.address
    host.run(
        f"docker tag {address}/app:1 {address}/built:1; docker tag {address}/app:1 {address}/loaded:1"
    )
    more = (
        f"  built:\n    build: .\n    image: {address}/built:1\n    init: true\n"
        f"  loaded:\n    image: {address}/loaded:1\n    init: true\n"
    )
    write(fleet, host, APP, more=more)
    host.run(f"echo FROM scratch >{quote(APP)}/Dockerfile", check=True)
    host.compose_up(APP)
    fleet.registry.push("app", text="two")
    (change,) = update(host, APP)
    assert change.outcome is ProjectOutcome.UPDATED, change
    assert [s.service for s in change.services if s.before != s.after] == ["web"]


def test_neighbours_and_a_start_period_are_no_faults_of_an_update(fleet, host):
    """A paused one and an unhealthy one before, and a check on which docker has no verdict in time."""
    check = "    healthcheck: {test: [CMD, /bin/busybox, test, -f, /%s], interval: 1s, %s}\n"
    starting = '    command: [/bin/busybox, sh, -c, "sleep 8; touch /ok; exec sleep 1000"]\n'
    neighbour = "  {}:\n    image: {}/plain:1\n    init: true\n"
    fleet.registry.push("plain", text="plain", healthy=None)
    more = (
        starting
        + check % ("ok", "start_period: 60s, retries: 1")
        + neighbour.format("paused", fleet.registry.address)
        + neighbour.format("ill", fleet.registry.address)
        + check % ("never", "retries: 1")
    )
    write(fleet, host, APP, more=more)
    host.run(f"sed -i \"s/version: '3'/version: '3.9'/\" {quote(APP)}/docker-compose.yml")
    host.compose_up(APP)
    host.compose_run(APP, "pause paused")
    host.run("until docker ps | grep -q unhealthy; do sleep 0.2; done", check=True, timeout=30)
    fleet.registry.push("app", text="two")
    (change,) = update(host, APP, health_timeout=timedelta(seconds=3))
    assert change.outcome is ProjectOutcome.UPDATED, change
    assert facts(host, "{{.State.Health.Status}}") == {"healthy"}
    assert facts(host, "{{.State.Status}}", "paused") == {"paused"}
