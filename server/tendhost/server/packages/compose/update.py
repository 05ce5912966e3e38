r"""Updates compose projects in a detached job, and parses the report of the job.

Each line on its standard output is `compose1` and fields, separated by tabs, one of

    step PROJECT STEP                                  check, pull, up, wait, rolled_back, prune
    service PROJECT NAME REFERENCE BEFORE AFTER        image ids; "-" for nothing
    result PROJECT OUTCOME WORDS                       unchanged, updated, deferred, rolled_back, failed
    end

A PROJECT is its path with all but plain characters percent-encoded. What is for people is on standard
error; of docker's own messages only what can hold no value of a project (messages.py). It ends with
status 0 where every project is as wanted, and with 1 where one is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tendhost.server.domain.hosts.host import COMPOSE_HEALTH_TIMEOUT
from tendhost.server.domain.inventory.compose import (
    ComposeProject,
    ComposeService,
    ComposeVersion,
    ProjectChange,
    ProjectOutcome,
    ServiceChange,
)
from tendhost.server.domain.shell_words import quoted, quoted_words
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.compose.commands import (
    COMPOSE_FILE,
    decoded,
    encoded,
    find_compose,
)
from tendhost.server.packages.compose.messages import RETELLING, unknown_message
from tendhost.server.packages.compose.project_settings import SETTINGS, UNLIKE
from tendhost.server.packages.compose.update_script import SCRIPT, STATE
from tendhost.server.packages.errors import ParseFailed, PartMissing
from tendhost.server.packages.script import whole_seconds

PULL_TIMEOUT = timedelta(minutes=30)
"""For all images of a project; docker itself gives up only when a registry refuses it."""
PULL_PAUSES = (timedelta(seconds=15), timedelta(seconds=60))
"""Before a pull is tried again that a registry could not serve. The limits of public registries are of a
minute, or of hours, for which no update waits."""
VERDICT_LIMIT = timedelta(minutes=15)
"""How long docker is waited for at most to decide whether a starting container is healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOptions:
    """How projects are updated."""

    version: ComposeVersion = ComposeVersion.AUTO
    pull: bool = True
    """Whether images are pulled; else only what is on the host already is brought up."""
    health_timeout: timedelta = COMPOSE_HEALTH_TIMEOUT
    """For every service that ran to run again and be healthy, 1 s or more, in whole seconds. What
    was put back has as long once more."""
    prune: bool = False
    """Whether images that this update replaced are removed, unless they have another name."""
    pull_timeout: timedelta = PULL_TIMEOUT
    pull_pauses: tuple[timedelta, ...] = PULL_PAUSES
    settle: timedelta = timedelta(seconds=3)
    """How long every service must keep running before it counts as up; at most `health_timeout`."""


def update_script(projects: Sequence[ComposeProject], options: UpdateOptions) -> str:
    """The script for sh that root runs in a job; it needs nobody's help, and may be run again.

    `projects` are as they were before the update, however often it is run.
    """
    return _script(options, [f"{_project(project)} || failed=1" for project in projects])


def undo_script(changes: Sequence[ProjectChange], options: UpdateOptions) -> str:
    """The script for sh that puts the former images of updated projects back; it may be run again.

    What it prints is understood by `parse_update`; it has done what it was to do where the outcome is
    rolled_back.
    """
    lines = []
    for change in changes:
        services = [
            ComposeService(
                name=s.service,
                image=s.image,
                # What had ended before the update ran is not brought back.
                image_id=s.before if s.after else "",
                local_id=s.before,
                pinned="@sha256:" in s.image,
            )
            for s in change.services
        ]
        words = ("taken_back", change.path, encoded(change.path), "\n".join(map(_row, services)))
        lines.append(f"{quoted_words(words)} || failed=1")
    return _script(options, lines)


def _script(options: UpdateOptions, lines: Sequence[str]) -> str:
    health_timeout = max(1, whole_seconds(options.health_timeout))
    settings = {
        "pull": "1" if options.pull else "",
        "prune": "1" if options.prune else "",
        "health_timeout": str(health_timeout),
        "pull_timeout": str(max(1, whole_seconds(options.pull_timeout))),
        "pull_pauses": quoted(" ".join(str(whole_seconds(p)) for p in options.pull_pauses)),
        "verdict_limit": str(whole_seconds(VERDICT_LIMIT)),
        "settle": str(min(max(1, whole_seconds(options.settle)), health_timeout)),
    }
    return "\n".join(
        (
            'LC_ALL=C; export LC_ALL; : "${HOME:=/root}"; export HOME; set -f',
            *(f"{name}={value}" for name, value in settings.items()),
            find_compose(options.version),
            COMPOSE_FILE,
            RETELLING,
            SETTINGS,
            SCRIPT.replace("@state@", STATE)
            .replace("@unlike@", UNLIKE)
            .replace("@unknown@", unknown_message("%s", "%s")),
            *lines,
            "say end; exit $failed",
        )
    )


def _project(project: ComposeProject) -> str:
    words = (project.path, encoded(project.path))
    if project.problem:
        return quoted_words(("refuse", *words, " ".join(project.problem.split())))
    return quoted_words(("project", *words, "\n".join(map(_row, project.services))))


def _row(service: ComposeService) -> str:
    """The service for the script: name, kind, reference, image that ran, image of the reference."""
    kind = "follow" if service.image and not service.pinned else "keep"
    fields = (service.name, kind, service.image, service.image_id, service.local_id)
    return " ".join(field or "-" for field in fields)


@parser
def parse_update(output: bytes) -> tuple[ProjectChange, ...]:
    """What became of each project, in their order.

    Raises PartMissing for an output that ends before its end, and ParseFailed for one that is not
    understood.
    """
    *lines, rest = output.decode("utf-8", "replace").split("\n")
    if rest or not lines or lines[-1] != "compose1\tend":
        raise PartMissing(part="end")
    services: list[ServiceChange] = []
    results: list[ProjectChange] = []
    for line in lines[:-1]:
        match line.split("\t"):
            case ["compose1", "step", _, _]:
                pass
            case ["compose1", "service", _, name, image, before, after]:
                words = (name, image, before, after)
                named = ["" if word == "-" else word for word in words]
                services.append(
                    ServiceChange(service=named[0], image=named[1], before=named[2], after=named[3])
                )
            case ["compose1", "result", path, outcome, problem] if outcome in _OUTCOMES:
                results.append(
                    ProjectChange(
                        path=decoded(path),
                        outcome=ProjectOutcome(outcome),
                        problem=problem.strip(),
                        services=tuple(services),
                    )
                )
                services = []
            case _:
                raise ParseFailed(part="update", line=line)
    if services:
        raise PartMissing(part="result")
    return tuple(results)


_OUTCOMES = frozenset(ProjectOutcome)
