r"""Which references name another image in their registry than on the host, found without pulling.

`docker manifest inspect --verbose` asks the registry for the manifest of each platform and of nothing
else. An image's id is the digest of its configuration, which a manifest names; where docker keeps its
images in containerd, the id is the digest of a manifest, and one for several platforms is not listed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tendhost.server.domain.inventory.compose import ComposeProject
from tendhost.server.domain.shell_words import quoted
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.compose.messages import RETELLING, unknown_message
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.facts import FACTS
from tendhost.server.packages.failures import one_line
from tendhost.server.packages.script import Part, framed_script, parse_parts

_ASK = r"""
insecure=$(as_root_or_user docker info 2>/dev/null </dev/null --format '@insecure@')
manifest() {
  # docker's own settings say which registries may be asked without TLS.
  for registry in $insecure; do
    case $1 in "$registry"/*) set -- "$1" --insecure ;; esac
  done
  reference=$1; shift
  refs=$reference retelling as_root_or_user docker manifest inspect --verbose "$@" -- "$reference"
}
""".strip().replace(
    "@insecure@",
    "{{range .RegistryConfig.IndexConfigs}}{{if not .Secure}}{{.Name}} {{end}}{{end}}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUpdate:
    """What a registry says of a reference."""

    image: str
    """As compose files name it."""
    available: bool | None
    """Whether it names another image there than on the host; None: that cannot be told."""
    problem: str = ""
    """Why it cannot be told."""


def image_updates_script(projects: Sequence[ComposeProject]) -> str:
    """The script for sh that asks the registries; it changes nothing."""
    asked = (
        f"part manifest_{number} manifest {quoted(reference)}"
        for number, (reference, _) in enumerate(_local_images(projects))
    )
    return framed_script(FACTS, RETELLING, _ASK, *asked)


@parser
def parse_image_updates(
    output: bytes, projects: Sequence[ComposeProject]
) -> tuple[ImageUpdate, ...]:
    """What the output of `image_updates_script` for the same projects says of each reference.

    Those named by a digest, and those of what is built on the host, are left out. Raises ParseFailed.
    """
    local = _local_images(projects)
    expected = tuple(f"manifest_{number}" for number in range(len(local)))
    parts = parse_parts(output, expected=expected)
    return tuple(
        _image_update(reference, image, name, parts[name])
        for name, (reference, image) in zip(expected, local, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Local:
    """The image that a reference names on the host."""

    id: str
    of_manifest: bool
    """Whether the id is a manifest's: what runs has the same id as it has digest."""


def _local_images(projects: Sequence[ComposeProject]) -> list[tuple[str, _Local]]:
    """Each reference once, with what it names on the host."""
    found = {
        service.image: _Local(
            service.local_id, bool(service.image_id) and service.digest == service.image_id
        )
        for project in projects
        for service in project.services
        if service.image and not service.pinned
    }
    return sorted(found.items(), key=lambda item: item[0])


def _image_update(reference: str, local: _Local, name: str, part: Part) -> ImageUpdate:
    if part.status != 0:
        problem = one_line(part.stderr) or unknown_message("docker manifest inspect", part.status)
        return ImageUpdate(image=reference, available=None, problem=problem)
    try:
        answer = json.loads(part.stdout)
    except (ValueError, RecursionError) as error:
        raise ParseFailed(part=name, line=part.stdout) from error
    platforms = answer if isinstance(answer, list) else [answer]
    manifests = {_digest(name, entry, "Descriptor") for entry in platforms}
    configs = {
        _digest(name, entry[kind], "config")
        for entry in platforms
        for kind in ("SchemaV2Manifest", "OCIManifest")
        if isinstance(entry.get(kind), dict)
    }
    if local.id in manifests | configs:
        return ImageUpdate(image=reference, available=False)
    if local.of_manifest and isinstance(answer, list):
        problem = "docker does not tell the digest of an image for several platforms"
        return ImageUpdate(image=reference, available=None, problem=problem)
    if not configs:
        problem = "its manifest names no configuration"
        return ImageUpdate(image=reference, available=None, problem=problem)
    return ImageUpdate(image=reference, available=True)


def _digest(part: str, entry: object, key: str) -> str:
    """The digest in the descriptor `key` of the entry."""
    held = entry.get(key) if isinstance(entry, dict) else None
    digest = held.get("digest") if isinstance(held, dict) else None
    if not isinstance(digest, str):
        raise ParseFailed(part=part, line=json.dumps(entry))
    return digest
