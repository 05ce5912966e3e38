"""The scripts for docker compose on real hosts with docker, with both of its versions."""

from collections.abc import Iterator
from datetime import timedelta
from shlex import quote

import pytest

from tendhost.server.domain.inventory.compose import (
    ComposeService,
    ComposeVersion,
    ProjectChange,
    ProjectOutcome,
)
from tendhost.server.packages.compose.image_updates import (
    ImageUpdate,
    image_updates_script,
    parse_image_updates,
)
from tendhost.server.packages.compose.inspect import (
    ComposeInspection,
    inspect_lines,
    parse_inspection,
)
from tendhost.server.packages.compose.update import UpdateOptions, parse_update, update_script
from tendhost.server.packages.facts import FACTS
from tendhost.server.packages.script import framed_script, parse_parts
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

LONG = pytest.mark.long
"""On cases that differ from their neighbours in little: with docker, each takes half a minute."""

APP = "/opt/my stacks/it's app"
OTHER = "/opt/other"
PATIENCE = timedelta(seconds=15)
IMPATIENCE = timedelta(seconds=3)


@pytest.fixture(scope="module", params=["v2", pytest.param("v1", marks=LONG)])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    spec = HostSpec(name="compose", compose=request.param, packages=())
    with Fleet([spec]) as fleet:
        yield fleet


@pytest.fixture
def host(fleet: Fleet) -> Iterator[Host]:
    """A host with one healthy project, APP, of one service, "web", which serves "one"."""
    host = fleet["compose"]
    fleet.registry.push("app", text="one")
    write(fleet, host, APP)
    host.compose_up(APP)
    yield host
    fleet.registry.start()
    host.run(
        "docker rm -fv $(docker ps -aq); docker network prune -f; rm -rf /opt/*;"
        "docker rmi -f $(docker images -aq)"
    )


def write(fleet: Fleet, host: Host, path: str, *, image: str = "app:1", more: str = "") -> None:
    host.write_stack(
        path,
        "version: '3'\nservices:\n  web:\n    init: true\n"
        f"    image: {fleet.registry.address}/{image}\n{more}",
    )


def inspect(
    host: Host, *paths: str, version: ComposeVersion = ComposeVersion.AUTO
) -> ComposeInspection:
    script = framed_script(FACTS, inspect_lines(paths, version=version))
    return parse_inspection(parse_parts(host.run(script).stdout.encode(), expected=()))


def web(host: Host) -> ComposeService:
    (project,) = inspect(host, APP).projects
    return next(service for service in project.services if service.name == "web")


def script_for(host: Host, *paths: str, **options) -> str:
    """The script for the projects as they are now."""
    options = {"health_timeout": PATIENCE, "settle": timedelta(seconds=1)} | options
    return update_script(inspect(host, *paths).projects, UpdateOptions(**options))


def run(host: Host, script: str) -> tuple[tuple[ProjectChange, ...], int]:
    # As a job runs it: with hardly any environment.
    done = host.run(f"env -i PATH=/usr/bin:/bin sh -c {quote(script)}", timeout=120)
    return parse_update(done.stdout.encode()), done.returncode


def update(host: Host, *paths: str, **options) -> tuple[ProjectChange, ...]:
    changes, status = run(host, script_for(host, *paths, **options))
    good = {ProjectOutcome.UNCHANGED, ProjectOutcome.UPDATED}
    assert status == (0 if all(change.outcome in good for change in changes) else 1)
    assert [change.path for change in changes] == list(paths)
    return changes


def served(host: Host, service: str = "web", path: str = APP) -> str:
    """What the service serves on its own network."""
    container = host.compose_run(path, f"ps -q {service}").stdout.split()[0]
    return host.output(f"docker exec {container} /bin/busybox wget -qO- http://127.0.0.1/")


def containers(host: Host) -> str:
    return host.output("docker ps -aq --no-trunc | sort")


def test_inspection__shows_what_runs(fleet, host):
    digest = fleet.registry.push("app", text="one")
    seen = inspect(host, APP)
    (project,) = seen.projects
    assert (project.path, project.problem) == (APP, "")
    assert project.version == host.compose
    (service,) = project.services
    (container,) = seen.containers
    assert service.name == "web"
    assert service.image == container.image == f"{fleet.registry.address}/app:1"
    assert service.image_id == service.local_id == container.image_id
    assert service.digest == digest
    assert not service.pinned
    assert service.state == container.state == "running"
    assert service.health in ("starting", "healthy")
    assert service.container == container.name
    assert container.status.startswith("Up ")
    (image,) = seen.images
    assert image.id == service.image_id
    assert image.tags == (service.image,)
    assert image.digests == (f"{fleet.registry.address}/app@{digest}",)
    assert image.size_bytes == int(host.output(f"docker image inspect -f {{{{.Size}}}} {image.id}"))


def test_inspection__by_a_user_with_sudo_is_the_same(fleet, host):
    script = framed_script(FACTS, inspect_lines([APP]))
    done = fleet.ssh(host, script, user="ops")
    by_sudo = parse_inspection(parse_parts(done.stdout.encode(), expected=()))
    assert by_sudo.projects[0].services[0].container == inspect(host).containers[0].name


def test_inspection__by_a_user_without_rights_says_why(fleet, host):
    script = framed_script(FACTS, inspect_lines([APP]))
    done = fleet.ssh(host, script, user="nosudo")
    seen = parse_inspection(parse_parts(done.stdout.encode(), expected=()))
    assert "permission denied" in seen.problem
    assert seen.projects[0].problem == seen.problem


def test_inspection__of_the_other_version_says_that_it_is_not_there(host):
    other = ComposeVersion.V1 if host.compose == "v2" else ComposeVersion.V2
    (project,) = inspect(host, APP, version=other).projects
    assert project.version is None
    assert project.problem.endswith("is there")


def test_inspection__lets_no_secret_leave_the_host(fleet, host):
    more = (
        "    environment:\n      PASSWORD: hunter2\n      NOTE: |\n        x:\n        image: y\n"
    )
    write(fleet, host, APP, more=more)
    script = framed_script(FACTS, inspect_lines([APP]))
    assert "hunter2" not in host.run(script).stdout
    (project,) = inspect(host, APP).projects
    assert [service.name for service in project.services] == ["web"]


MISTAKES = {
    "value": ("    environment:\n      PASSWORD: 'hunter2pa${x'\n", "interpolation"),
    "item": ('    environment:\n      - "PASSWORD=hunter2${x"\n', "interpolation"),
    "variable": ("    environment:\n      A: ${HUNTER2X:?hunter2 is it}\n", "missing a value"),
    "alias": ("    environment:\n      PASSWORD: *hunter2\n", ""),
    "env_file": ("    env_file: hunter2.env\n", "env_file"),
    "label": ("    labels:\n      a: [hunter2]\n", "services.web.labels"),
    "port": ('    ports: ["hunter2:80"]\n', "port"),
    "command": ("    entrypoint: [--password=hunter2]\n", "other settings"),
}


def test_no_value_leaves_the_host_with_a_message(fleet, host):
    for name, (more, _) in MISTAKES.items():
        write(fleet, host, APP, more=more)
        seen = host.run(framed_script(FACTS, inspect_lines([APP])))
        assert "hunter" not in f"{seen.stdout}{seen.stderr}".lower(), name


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in {"value", "command"} else LONG)  # one of each step
        for name in MISTAKES
    ],
)
def test_no_value_leaves_the_host_with_the_log_or_the_report_of_an_update(fleet, host, name):
    more, expected = MISTAKES[name]
    script = script_for(host, APP)
    write(fleet, host, APP, more=more)
    fleet.registry.push("app", text=name)
    done = host.run(f"env -i PATH=/usr/bin:/bin sh -c {quote(script)}", timeout=120)
    assert "hunter" not in f"{done.stdout}{done.stderr}".lower()
    (change,) = parse_update(done.stdout.encode())
    # Version 1 has other words for a port.
    assert expected in change.problem or (name, host.compose) == ("port", "v1"), change


def test_an_unmoved_tag_changes_nothing(host):
    before = containers(host)
    (change,) = update(host, APP)
    assert (change.outcome, change.problem) == (ProjectOutcome.UNCHANGED, "")
    assert change.services[0].before == change.services[0].after
    assert containers(host) == before


def test_a_moved_tag_is_pulled_and_brought_up(fleet, host):
    old = web(host).image_id
    fleet.registry.push("app", text="two")
    (change,) = update(host, APP)
    assert change.outcome is ProjectOutcome.UPDATED
    (service,) = change.services
    assert service.before == old
    assert service.after == web(host).image_id != old
    assert served(host) == "two"
    assert {image.id for image in inspect(host).images} == {old, service.after}


def test_a_moved_tag_is_left_where_nothing_is_to_be_pulled(fleet, host):
    fleet.registry.push("app", text="two")
    (change,) = update(host, APP, pull=False)
    assert change.outcome is ProjectOutcome.UNCHANGED
    assert served(host) == "one"


def test_what_somebody_pulled_is_brought_up(fleet, host):
    fleet.registry.push("app", text="two")
    host.compose_run(APP, "pull -q")
    (change,) = update(host, APP, pull=False)
    assert change.outcome is ProjectOutcome.UPDATED
    assert served(host) == "two"


def test_only_the_project_with_a_moved_tag_is_touched(fleet, host):
    fleet.registry.push("other", text="other")
    write(fleet, host, OTHER, image="other:1")
    host.compose_up(OTHER)
    untouched = host.compose_run(OTHER, "ps -q").stdout
    fleet.registry.push("app", text="two")
    changed, same = update(host, APP, OTHER)
    assert changed.outcome is ProjectOutcome.UPDATED
    assert same.outcome is ProjectOutcome.UNCHANGED
    assert host.compose_run(OTHER, "ps -q").stdout == untouched


@pytest.mark.parametrize(
    ("broken", "restart", "why"),
    [
        ({"healthy": False}, "always", "web is running and unhealthy after 5 s"),
        pytest.param({"healthy": None, "command": ("false",)}, "no", "web is exited", marks=LONG),
        pytest.param({"healthy": None, "command": ("false",)}, "always", "after 5 s", marks=LONG),
        ({"healthy": None, "command": ("sleep", "2")}, "always", "after 5 s"),
    ],
    ids=["unhealthy", "ends", "is restarted", "is restarted later"],
)
def test_a_bad_image_is_put_back(fleet, host, broken, restart, why):
    more = f"    restart: '{restart}'\n"
    # In version 1 that is no word of a compose file.
    more += "    pull_policy: always\n" if host.compose == "v2" else ""
    write(fleet, host, APP, more=more)
    host.compose_up(APP)
    old = web(host).image_id
    fleet.registry.push("app", text="two", **broken)
    (change,) = update(host, APP, health_timeout=timedelta(seconds=5), settle=timedelta(seconds=3))
    assert change.outcome is ProjectOutcome.ROLLED_BACK, change
    assert change.problem.endswith(why)
    assert change.services[0].before == change.services[0].after == old
    assert served(host) == "one"
    service = web(host)
    assert service.image_id == service.local_id == old


def test_a_project_that_cannot_be_put_back_has_failed(fleet, host):
    script = script_for(host, APP, health_timeout=IMPATIENCE)
    old = web(host).image_id
    host.run(f"docker rm -f $(docker ps -q); docker rmi -f {old}", check=True)
    fleet.registry.push("app", text="two", healthy=False)
    (change,), status = run(host, script)
    assert status == 1
    assert change.outcome is ProjectOutcome.FAILED
    assert "cannot be put back" in change.problem


def test_a_syntax_error_is_told_of_one_project_only(fleet, host):
    host.write_stack(OTHER, "services:\n  web\n    image: x\n")
    fleet.registry.push("app", text="two")
    broken, good = update(host, OTHER, APP)
    assert broken.outcome is ProjectOutcome.FAILED
    assert "mapping values are not allowed" in broken.problem
    assert good.outcome is ProjectOutcome.UPDATED


def test_a_file_that_broke_since_the_inspection_leaves_the_project_as_it_is(fleet, host):
    script = script_for(host, APP)
    host.write_stack(APP, "services:\n  web\n    image: x\n")
    before = containers(host)
    (change,), status = run(host, script)
    assert status == 1
    assert change.outcome is ProjectOutcome.FAILED
    assert "mapping values are not allowed" in change.problem
    assert containers(host) == before


def test_a_folder_without_a_compose_file_does_not_stand_for_the_one_above(fleet, host):
    host.run(f"mkdir {quote(APP)}/below", check=True)
    (change,) = update(host, f"{APP}/below")
    assert change.outcome is ProjectOutcome.FAILED
    assert change.problem == "there is no compose file in this folder"


def test_a_registry_that_is_down_leaves_the_project_as_it_is(fleet, host):
    before = containers(host)
    fleet.registry.stop()
    (change,) = update(host, APP)
    assert change.outcome is ProjectOutcome.FAILED
    assert change.problem.startswith("the images cannot be pulled")
    assert containers(host) == before


def test_what_ran_runs_again_where_pulling_fails_and_a_container_is_gone(fleet, host):
    script = script_for(host, APP)
    fleet.registry.push("app", text="two")
    host.compose_run(APP, "pull -q")
    host.run("docker rm -f $(docker ps -q)", check=True)
    fleet.registry.stop()
    (change,), status = run(host, script)
    assert status == 1
    assert change.outcome is ProjectOutcome.FAILED
    assert change.problem.startswith("the images cannot be pulled")
    assert change.services[0].before == change.services[0].after
    assert served(host) == "one"


def test_half_a_pull_leaves_no_moved_tag(fleet, host):
    fleet.registry.push("second", text="second")
    second = f"  second:\n    init: true\n    image: {fleet.registry.address}/second:1\n"
    write(fleet, host, APP, more=second)
    host.compose_up(APP)
    more = second.replace("second:1", "absent:1")
    old = web(host).image_id
    script = script_for(host, APP)
    write(fleet, host, APP, more=more)
    fleet.registry.push("app", text="two")
    (change,), _ = run(host, script)
    assert change.outcome is ProjectOutcome.FAILED
    assert web(host).image_id == web(host).local_id == old


def test_a_pinned_image_is_left_alone(fleet, host):
    digest = fleet.registry.push("app", text="one")
    write(fleet, host, APP, image=f"app@{digest}")
    host.compose_up(APP)
    service = web(host)
    assert service.pinned
    assert service.local_id == service.image_id
    fleet.registry.push("app", text="two")
    before = containers(host)
    (change,) = update(host, APP)
    assert change.outcome is ProjectOutcome.UNCHANGED
    assert containers(host) == before


def test_a_project_that_does_not_run_is_not_brought_up(fleet, host):
    host.compose_run(APP, "stop")
    fleet.registry.push("app", text="two")
    (change,) = update(host, APP)
    assert change.outcome is ProjectOutcome.UNCHANGED
    assert web(host).state == "exited"


def test_replaced_images_are_removed_where_asked_for_and_unused(fleet, host):
    (one,) = inspect(host).images
    fleet.registry.push("app", text="two")
    assert update(host, APP, prune=True)[0].outcome is ProjectOutcome.UPDATED
    (two,) = inspect(host).images
    assert two.id != one.id
    host.run(f"docker tag {two.id} keep:me", check=True)
    fleet.registry.push("app", text="three")
    assert update(host, APP, prune=True)[0].outcome is ProjectOutcome.UPDATED
    assert {image.id for image in inspect(host).images} > {two.id}


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("pull", 0.2),
        ("up", 0.4),
        pytest.param("up", 0, marks=LONG),
        pytest.param("wait", 0.1, marks=LONG),
    ],
)
def test_an_update_that_was_cut_off_is_finished_when_it_is_run_again(fleet, host, step, after):
    old = web(host).image_id
    script = script_for(host, APP)
    fleet.registry.push("app", text="two")
    cut_off(host, script, step, after)
    (change,), status = run(host, script)
    assert (change.outcome, status) == (ProjectOutcome.UPDATED, 0), change
    assert change.services[0].before == old
    assert served(host) == "two"


@pytest.mark.parametrize(
    ("registry", "after"),
    [
        ("down", 0.4),
        pytest.param("up", 0.1, marks=LONG),
        pytest.param("down", 0, marks=LONG),
    ],
)
def test_putting_back_that_was_cut_off_is_finished_when_it_is_run_again(
    fleet, host, registry, after
):
    old = web(host).image_id
    script = script_for(host, APP, health_timeout=IMPATIENCE)
    fleet.registry.push("app", text="two", healthy=False)
    cut_off(host, script, "rolled_back", after)
    if registry == "down":
        fleet.registry.stop()
    (change,), _ = run(host, script)
    assert change.services[0].after == old, change
    assert served(host) == "one"


def test_a_moved_tag_is_known_without_pulling(fleet, host):
    fleet.registry.push("other", text="other")
    write(fleet, host, OTHER, image="other:1")
    host.compose_up(OTHER)
    assert {tag.available for tag in image_updates(host, APP, OTHER)} == {False}
    fleet.registry.push("app", text="two")
    images = inspect(host).images
    app, other = image_updates(host, APP, OTHER)
    assert (app.image, app.available) == (f"{fleet.registry.address}/app:1", True)
    assert not other.available
    fleet.registry.stop()
    app, other = image_updates(host, APP, OTHER)
    assert app.available is other.available is None
    assert "connection refused" in app.problem
    assert inspect(host).images == images


def image_updates(host: Host, *paths: str) -> tuple[ImageUpdate, ...]:
    projects = inspect(host, *paths).projects
    return parse_image_updates(host.run(image_updates_script(projects)).stdout.encode(), projects)


def cut_off(host: Host, script: str, step: str, after: float) -> None:
    """Kill the script and what it runs so many seconds after it began a step."""
    host.run(
        f"setsid sh -c {quote(script)} 2>/dev/null >/run/update.out & "
        f"until grep -q {quote(step)}$ /run/update.out; do sleep 0.02; done;"
        f"sleep {after}; kill -9 -- -$!; wait; rm /run/update.out",
        timeout=60,
    )
