"""Lists all containers and images of a host, as docker prints them in JSON."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tendhost.server.domain.inventory.compose import Container, Image
from tendhost.server.packages.errors import ParseFailed

# By the names of docker's own structures: its second try, by those of the JSON, fails where a value
# is missing, as Health mostly is.
_LABEL = '{{json (index .Config.Labels "com.docker.compose.%s")}}'
_CONTAINER = (
    "[{{json .ID}},{{json .Name}},{{json .Config.Image}},{{json .Image}},{{json .State.Status}},"
    '{{if .State.Health}}{{json .State.Health.Status}}{{else}}""{{end}},'
    f"{_LABEL % 'service'},{_LABEL % 'oneoff'}]"
)
_IMAGE = "[{{json .ID}},{{json .RepoTags}},{{json .RepoDigests}},{{json .Size}}]"

LISTING = (
    r"""
containers() {
  all=$(retelling as_root_or_user docker ps -a --no-trunc --format '{{.ID}} {{.Status}}') || return
  printf '%s\n.\n' "$all"
  ids=$(printf '%s\n' "$all" | cut -d ' ' -f 1)
  [ -z "$ids" ] || retelling as_root_or_user docker container inspect --format '@container@' $ids
}
images() {
  ids=$(retelling as_root_or_user docker images -q --no-trunc) || return
  ids=$(printf '%s\n' "$ids" | sort -u)
  [ -z "$ids" ] || retelling as_root_or_user docker image inspect --format '@image@' $ids
}
""".strip()
    .replace("@container@", _CONTAINER)
    .replace("@image@", _IMAGE)
)
"""Functions that print them; `as_root_or_user` (facts.py) runs a command as one who may use docker, `retelling`
(messages.py) keeps values in its errors on the host."""


@dataclass(frozen=True, slots=True)
class ListedContainer:
    """A container with what places it in a project."""

    container: Container
    service: str
    oneoff: bool


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Images by their ids and by their names."""

    by_id: Mapping[str, Image] = field(default_factory=dict)
    by_name: Mapping[str, str] = field(default_factory=dict)


def parse_containers(text: str) -> dict[str, ListedContainer]:
    listed, dot, inspected = text.partition("\n.")
    if not dot:
        raise ParseFailed(part="containers", line=text)
    statuses = dict(line.split(" ", 1) for line in listed.split("\n") if " " in line)
    found = {}
    for row in _rows("containers", inspected, (str, str, str, str, str, str, str, str)):
        id_, name, image, image_id, state, health, service, oneoff = row
        container = Container(
            id=id_,
            name=name.removeprefix("/"),
            image=image,
            image_id=image_id,
            state=state,
            status=statuses.get(id_, ""),
            # A container that has ended keeps what was found last.
            health=health if state == "running" and health != "none" else "",
        )
        found[id_] = ListedContainer(container, service, oneoff == "True")
    return found


def parse_images(text: str) -> Iterator[Image]:
    for id_, tags, digests, size in _rows("images", text, (str, list, list, int)):
        yield Image(
            id=id_,
            tags=tuple(sorted(tags)),
            digests=tuple(sorted(digests)),
            size_bytes=size,
        )


def _rows(part: str, text: str, kinds: tuple[type, ...]) -> Iterator[list]:  # type: ignore[type-arg]
    """The lines, each a JSON list of values of these kinds."""
    for line in text.split("\n"):
        if not line:
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ParseFailed(part=part, line=line) from error
        if not isinstance(row, list) or len(row) != len(kinds):
            raise ParseFailed(part=part, line=line)
        # Go prints an empty list as null.
        row = [kind() if value is None else value for kind, value in zip(kinds, row, strict=True)]
        for kind, value in zip(kinds, row, strict=True):
            texts = value if kind is list else []
            if type(value) is not kind or not all(isinstance(one, str) for one in texts):
                raise ParseFailed(part=part, line=line)
        yield row
