r"""Inspection of docker and compose projects: containers, images, services.

Of a project's configuration only the names of services and images leave the host, never an
environment, which may hold secrets, nor a message that may quote one (messages.py). `docker compose
config` prints YAML that is indented by two
spaces a level, in both versions, which makes the lines wanted known by their shape.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tendhost.server.domain.inventory.compose import (
    ComposeProject,
    ComposeService,
    ComposeVersion,
    Container,
    Image,
)
from tendhost.server.domain.shell_words import quoted, quoted_words
from tendhost.server.packages.compose.commands import (
    COMPOSE_FILE,
    compose_missing,
    decoded,
    encoded,
    find_compose,
)
from tendhost.server.packages.compose.listing import (
    LISTING,
    ImageIndex,
    ListedContainer,
    parse_containers,
    parse_images,
)
from tendhost.server.packages.compose.messages import RETELLING, unknown_message
from tendhost.server.packages.compose.project_settings import SETTINGS, UNLIKE
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.failures import one_line
from tendhost.server.packages.script import Part

_PROJECT = (
    f"{COMPOSE_FILE}\n{RETELLING}\n{SETTINGS}"
    + r"""
cd -- "$1" 2>/dev/null || { echo 'this folder cannot be entered' >&2; exit 1; }
shift; compose="$*"
settle || { printf '%s\n' "$why" >&2; exit 1; }
config=$(retelling dc config) || exit
printf '%s\n' "$config" | awk '
  /^[^ ]/ { on = /^services:/ }
  on && (/^  ["\047]?[A-Za-z0-9._-]+["\047]?:$/ || /^    image: ["\047]?[A-Za-z0-9._:@\/-]+["\047]?$/)'
[ -z "$unlike" ] || printf 'unlike: %s\n' "$unlike"
echo .
if [ -n "$project" ]; then
  retelling docker ps -a -q --no-trunc --filter "label=com.docker.compose.project=$project"
else
  retelling dc ps -a -q
fi
"""
)

_INSPECT = rf"""
{RETELLING}
{LISTING}
# What runs containers beside docker, or under its name: podman, and daemons of users (rootless).
engines() {{
  ! command -v podman >/dev/null || echo podman
  as_root_or_user find /run/user -maxdepth 2 -name docker.sock -type s 2>/dev/null |
    sed 's|^/run/user/||; s|/.*||; s/^/rootless /'
  command -v docker >/dev/null || return 0
  case $(docker --version 2>/dev/null) in *[Pp]odman*) echo docker is podman; return ;; esac
  as_root_or_user docker version --format '{{{{range .Server.Components}}}}{{{{.Name}}}} {{{{end}}}}' 2>/dev/null |
    sed -n 's/.*[Pp]odman.*/docker is podman/p'
}}
part engines engines
case $out in *'docker is podman'*) podman=1 ;; *) podman= ;; esac
if [ -z "$podman" ] && command -v docker >/dev/null; then
  part docker retelling as_root_or_user docker version --format '{{{{.Server.Version}}}}'
  if [ "$rc" = 0 ]; then
    part containers containers
    part images images
  fi
fi
""".strip()


def inspect_lines(paths: Sequence[str], *, version: ComposeVersion = ComposeVersion.AUTO) -> str:
    """Lines for a script that began with FACTS: the containers, the images, and these projects.

    A host without docker says nothing of containers and images.
    """
    if not paths:
        return _INSPECT
    lines = [
        _INSPECT,
        find_compose(version, asked="as_root_or_user"),
        'part compose_paths printf "%s\\n" ' + quoted_words([version, *map(encoded, paths)]),
        f"inspect_project={quoted(_PROJECT.strip())}",
        'if [ -n "$compose" ]; then',
        "part compose retelling as_root_or_user $compose version --short",
    ]
    for number, path in enumerate(paths):
        asked = f'as_root_or_user sh -c "$inspect_project" sh {quoted(path)} $compose'
        lines.append(f"part compose_{number} {asked}")
    return "\n".join([*lines, "fi"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeInspection:
    """What a host said of docker."""

    docker: str = ""
    """The version of its daemon; empty: none, or it cannot be asked."""
    problem: str = ""
    """Why docker cannot be asked, where it is there."""
    others: tuple[str, ...] = ()
    """What else runs containers on the host and is not asked, in words."""
    containers: tuple[Container, ...] = ()
    images: tuple[Image, ...] = ()
    projects: tuple[ComposeProject, ...] = ()


def parse_inspection(parts: Mapping[str, Part]) -> ComposeInspection:
    """Understand the parts of `inspect_lines`. Raises ParseFailed."""
    docker = parts.get("docker")
    if docker is None or docker.status != 0:
        problem = ""
        if docker is not None:
            problem = one_line(docker.stderr) or unknown_message("docker version", docker.status)
        others = _other_engines(parts)
        if others:
            problem = "; ".join(filter(None, (problem, *others)))
        lack = problem or "there is no docker on this host"
        return ComposeInspection(
            problem=problem, projects=tuple(_projects(parts, {}, ImageIndex(), lack))
        )
    problem = ""
    found: dict[str, ListedContainer] = {}
    images: tuple[Image, ...] = ()
    for name in ("containers", "images"):
        if name not in parts:
            raise ParseFailed(part=name, line="")
        part = parts[name]
        # What went away between the listing and the question is no failure.
        if part.status != 0 and "No such" not in part.stderr:
            problem = one_line(part.stderr) or unknown_message("docker inspect", part.status)
        elif name == "containers":
            found = parse_containers(part.stdout)
        else:
            images = tuple(parse_images(part.stdout))
    named = {name: image.id for image in images for name in (*image.tags, *image.digests)}
    known = ImageIndex({image.id: image for image in images}, named)
    return ComposeInspection(
        docker=docker.stdout.strip(),
        problem=problem,
        others=_other_engines(parts),
        containers=tuple(
            sorted((one.container for one in found.values()), key=lambda one: one.name)
        ),
        images=images,
        projects=tuple(_projects(parts, found, known, problem)),
    )


def _other_engines(parts: Mapping[str, Part]) -> tuple[str, ...]:
    """What runs containers on the host that is not asked, in words."""
    part = parts.get("engines")
    lines = part.stdout.split("\n") if part is not None else []
    found = [
        f"docker of the user {line.split()[1]} (rootless) is not supported: tendhost asks docker of root"
        for line in lines
        if line.startswith("rootless ")
    ]
    if "docker is podman" in lines:
        found.append("docker is podman on this host, which is not supported")
    elif "podman" in lines:
        found.append("podman is not supported")
    return tuple(found)


def familiar(reference: str) -> str:
    """The reference as docker lists it: "docker.io/library/nginx" is "nginx:latest"."""
    for prefix in ("docker.io/", "index.docker.io/"):
        reference = reference.removeprefix(prefix)
    reference = reference.removeprefix("library/")
    name, at, digest = reference.partition("@")
    tagged = ":" in name.rpartition("/")[2]
    if at:
        # With a digest the tag says nothing.
        return f"{name.rpartition(':')[0] if tagged else name}@{digest}"
    return reference if tagged else f"{reference}:latest"


_SERVICE = re.compile(r"  ([A-Za-z0-9._-]+):\Z")
_IMAGE_LINE = re.compile(r"    image: ([^\s\x00-\x1f]+)\Z")
# Only where a run of spaces begins: tried at each of them, a long run takes time quadratic in its length.
_QUOTED = re.compile(
    r"(?P<indent>(?<! ) +(?:image: )?)(?P<quote>['\"])(?P<text>[^'\"\\]*)(?P=quote)"
)
_ID = re.compile(r"[0-9a-f]{64}\Z")


def _projects(
    parts: Mapping[str, Part], found: Mapping[str, ListedContainer], images: ImageIndex, lack: str
) -> Iterator[ComposeProject]:
    if "compose_paths" not in parts:
        return
    wanted, *words = parts["compose_paths"].stdout.split("\n")
    try:
        version = ComposeVersion(wanted)
    except ValueError as error:
        raise ParseFailed(part="compose_paths", line=wanted) from error
    command = parts.get("compose")
    for number, word in enumerate(words):
        path = decoded(word)
        if lack or command is None:
            lack = lack or compose_missing(version)
            yield ComposeProject(path=path, version=None, problem=lack)
        elif part := parts.get(f"compose_{number}"):
            yield _project(path, _version(command), f"compose_{number}", part, found, images)
        else:
            raise ParseFailed(part=f"compose_{number}", line="")


def _version(part: Part) -> ComposeVersion:
    if part.status != 0:
        raise ParseFailed(part="compose", line=part.message)
    # Builds of one's own have other words for a version; they are of those that are still made.
    old = part.stdout.strip().removeprefix("v").startswith(("0.", "1."))
    return ComposeVersion.V1 if old else ComposeVersion.V2


def _project(
    path: str,
    version: ComposeVersion,
    name: str,
    part: Part,
    found: Mapping[str, ListedContainer],
    images: ImageIndex,
) -> ComposeProject:
    if part.status != 0:
        problem = one_line(part.stderr) or unknown_message("docker compose config", part.status)
        return ComposeProject(path=path, version=version, problem=problem)
    config, dot, ids = f"\n{part.stdout}\n".partition("\n.\n")
    if not dot:
        raise ParseFailed(part=name, line=part.stdout)
    mine = []
    for id_ in ids.split():
        if not _ID.match(id_):
            raise ParseFailed(part=name, line=id_)
        if id_ in found and not found[id_].oneoff:
            mine.append(found[id_])
    services = []
    config, _, unlike = config.partition("\nunlike: ")
    for service, reference in _references(name, config).items():
        its = [one.container for one in mine if one.service == service]
        services.append(_service(service, reference, its, images))
    services.sort(key=lambda service: service.name)
    obstacle = f"{unlike.strip()}: {UNLIKE}" if unlike else ""
    return ComposeProject(path=path, version=version, services=tuple(services), obstacle=obstacle)


def _references(part: str, config: str) -> dict[str, str]:
    """The image of each service."""
    references: dict[str, str] = {}
    service = ""
    for line in config.split("\n"):
        plain = _QUOTED.sub(r"\g<indent>\g<text>", line)
        if match := _SERVICE.match(plain):
            service = match[1]
            references[service] = ""
        elif service and (match := _IMAGE_LINE.match(plain)):
            references[service] = match[1]
        elif line:
            raise ParseFailed(part=part, line=line)
    return references


def _service(
    name: str, reference: str, containers: list[Container], images: ImageIndex
) -> ComposeService:
    running = next((one for one in containers if one.state == "running"), None)
    told = min(containers, key=_how_well, default=None)
    image_id = running.image_id if running else ""
    image = images.by_id.get(image_id)
    return ComposeService(
        name=name,
        image=reference,
        image_id=image_id,
        local_id=images.by_name.get(familiar(reference), "") if reference else "",
        digest=_digest(image, reference),
        pinned="@sha256:" in reference,
        state=told.state if told else "",
        health=told.health if told else "",
        container=told.name if told else "",
    )


def _how_well(container: Container) -> int:
    if container.state != "running":
        return 0
    return {"unhealthy": 1, "starting": 2}.get(container.health, 3)


def _digest(image: Image | None, reference: str) -> str:
    """The image's digest in the repository of the reference, or else in any."""
    if image is None or not image.digests:
        return ""
    name = familiar(reference).partition("@")[0]
    repository = name if "@" in reference else name.rpartition(":")[0]
    own = (one for one in image.digests if one.partition("@")[0] == repository)
    return next(own, image.digests[0]).partition("@")[2]
