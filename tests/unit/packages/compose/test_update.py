"""The script that updates projects, and what recorded runs of it mean."""

from datetime import timedelta

import pytest

from tendhost.server.domain.inventory.compose import ComposeProject, ComposeService, ProjectOutcome
from tendhost.server.packages.compose.update import UpdateOptions, parse_update, update_script
from tendhost.server.packages.errors import ParseFailed, PartMissing
from tests.unit.packages.compose.recordings import (
    APP,
    BROKEN,
    NONE,
    RECORDED,
    STOPPED,
    VERSIONS,
    inspect,
    recorded,
)

every_version = pytest.mark.parametrize("version", VERSIONS)


@every_version
def test_a_moved_tag_gives_one_service_another_image(version: str) -> None:
    app, broken, none, stopped = parse_update(recorded(f"{version}/update"))
    assert (app.path, app.outcome, app.problem) == (APP, ProjectOutcome.UPDATED, "")
    pinned, plain, web = app.services
    before = inspect(f"{version}/inspect").projects[0].services
    for service, was in zip(app.services, before, strict=True):
        assert (service.service, service.image) == (was.name, was.image)
        assert service.before == was.image_id
    assert web.before != web.after != ""
    assert (pinned.before, plain.before) == (pinned.after, plain.after)
    assert (broken.path, broken.outcome) == (BROKEN, ProjectOutcome.FAILED)
    assert "mapping values" in broken.problem
    assert (none.path, none.outcome) == (NONE, ProjectOutcome.FAILED)
    assert (stopped.path, stopped.outcome) == (STOPPED, ProjectOutcome.UNCHANGED)
    assert {service.after for service in stopped.services} == {""}


@every_version
def test_unmoved_tags_leave_everything(version: str) -> None:
    app = parse_update(recorded(f"{version}/update-unchanged"))[0]
    assert (app.outcome, app.problem) == (ProjectOutcome.UNCHANGED, "")
    assert all(service.before == service.after != "" for service in app.services)


@every_version
@pytest.mark.parametrize(
    ("name", "outcome", "problem"),
    [
        ("put-back", ProjectOutcome.ROLLED_BACK, "web is running and unhealthy after 5 s"),
        ("not-put-back", ProjectOutcome.FAILED, "the former images cannot be put back: Error"),
        ("registry-down", ProjectOutcome.FAILED, "the images cannot be pulled: "),
    ],
)
def test_what_went_wrong_is_said(
    version: str, name: str, outcome: ProjectOutcome, problem: str
) -> None:
    (app,) = parse_update(recorded(f"{version}/update-{name}"))
    assert app.outcome is outcome
    assert problem in app.problem
    assert (RECORDED / version / f"update-{name}.rc").read_text() == "1\n"
    same = [service.service for service in app.services if service.before == service.after]
    assert ("web" in same) == (name != "not-put-back")


@pytest.mark.parametrize(
    "line",
    [
        "compose2\tend",
        "compose1\tresult\tx\tmended\t",
        "compose1\tservice\tx\tweb",
        "compose1\tfuture\tx",
        "Pulling web",
    ],
)
def test_a_line_of_another_kind_is_refused(line: str) -> None:
    with pytest.raises(ParseFailed, match=line.partition("\t")[0]):
        parse_update(f"{line}\ncompose1\tend\n".encode())


def test_services_without_a_result_are_refused() -> None:
    output = b"compose1\tservice\tx\tweb\ta:1\t-\t-\ncompose1\tend\n"
    with pytest.raises(PartMissing, match="result"):
        parse_update(output)


def test_no_projects_are_an_output_of_its_end_alone() -> None:
    assert parse_update(b"compose1\tend\n") == ()


def script(project: ComposeProject, **options: object) -> str:
    return update_script([project], UpdateOptions(**options))  # type: ignore[arg-type]


def test_what_ran_before_is_data_of_the_script() -> None:
    services = (
        ComposeService(name="web", image="app:1", image_id="sha256:aa", local_id="sha256:bb"),
        ComposeService(name="pin", image="app@sha256:cc", image_id="sha256:dd", pinned=True),
        ComposeService(name="built", image="", image_id="sha256:ee"),
        ComposeService(name="task", image="task:1"),
    )
    project = ComposeProject(path="/opt/it's", version=None, services=services)
    assert (
        "\nproject '/opt/it'\"'\"'s' /opt/it%27s 'web follow app:1 sha256:aa sha256:bb\n"
        "pin keep app@sha256:cc sha256:dd -\n"
        "built keep - sha256:ee -\n"
        "task follow task:1 - -' || failed=1\n"
    ) in script(project)


def test_a_project_with_a_problem_is_refused_and_not_touched() -> None:
    project = ComposeProject(path="/opt/x", version=None, problem="yaml:\tline 3\n")
    assert "\nrefuse /opt/x /opt/x 'yaml: line 3' || failed=1\n" in script(project)


def test_times_are_whole_seconds_and_never_none() -> None:
    project = ComposeProject(path="/opt/x", version=None)
    text = script(project, health_timeout=timedelta(seconds=1.2), pull_timeout=timedelta())
    assert "\nhealth_timeout=2\n" in text
    assert "\nsettle=2\n" in text
    assert "\npull_timeout=1\n" in text
