"""What registries say of references, as recorded and as docker documents it for other images."""

import json
from dataclasses import replace

import pytest

from tendhost.server.domain.inventory.compose import ComposeProject, ComposeService
from tendhost.server.packages.compose.image_updates import (
    ImageUpdate,
    image_updates_script,
    parse_image_updates,
)
from tendhost.server.packages.errors import ParseFailed
from tests.unit.packages.compose.recordings import VERSIONS, inspect, recorded

every_version = pytest.mark.parametrize("version", VERSIONS)
APP, PLAIN = "registry.example.org/app:1", "registry.example.org/plain:1"


@every_version
@pytest.mark.parametrize(("name", "available"), [("images", True), ("images-none", False)])
def test_image_update__is_found_by_its_tag(version: str, name: str, available: bool) -> None:
    projects = inspect(f"{version}/inspect").projects
    assert parse_image_updates(recorded(f"{version}/{name}"), projects) == (
        ImageUpdate(image=APP, available=available),
        ImageUpdate(image=PLAIN, available=False),
    )


@every_version
def test_nothing_is_known_of_a_registry_that_is_down(version: str) -> None:
    projects = inspect(f"{version}/inspect").projects
    for tag in parse_image_updates(recorded(f"{version}/images-registry-down"), projects):
        assert tag.available is None
        assert "connection refused" in tag.problem


def test_each_reference_is_asked_for_once_and_pinned_or_built_ones_are_not() -> None:
    services = (
        ComposeService(name="a", image="app:1"),
        ComposeService(name="b", image="app:1"),
        ComposeService(name="c", image="app@sha256:ab", pinned=True),
        ComposeService(name="d", image=""),
    )
    project = ComposeProject(path="/x", version=None, services=services)
    script = image_updates_script([project, project])
    assert script.count("part manifest_") == 1
    assert "part manifest_0 manifest app:1\n" in script


LOCAL = ComposeService(name="a", image="app:1", local_id="sha256:c1", image_id="sha256:c1")


def answered(answer: object, service: ComposeService = LOCAL) -> ImageUpdate:
    project = ComposeProject(path="/x", version=None, services=(service,))
    output = (
        f"\n\x1etendhost manifest_0 stderr\n\n\x1etendhost manifest_0 0\n{json.dumps(answer)}"
        "\n\x1etendhost end\n"
    )
    (tag,) = parse_image_updates(output.encode(), [project])
    return tag


def manifest(number: int, kind: str = "SchemaV2Manifest") -> dict[str, object]:
    return {
        "Descriptor": {"digest": f"sha256:m{number}"},
        kind: {"config": {"digest": f"sha256:c{number}"}},
    }


def test_an_image_for_several_platforms_is_known_by_any_of_them() -> None:
    assert answered([manifest(0), manifest(1, "OCIManifest")]).available is False
    assert answered([manifest(2), manifest(3, "OCIManifest")]).available is True


def test_an_image_that_is_not_on_the_host_would_be_pulled() -> None:
    assert answered(manifest(1), replace(LOCAL, local_id="")).available is True


def test_an_image_in_containerd_is_known_by_its_manifest_unless_there_are_several() -> None:
    service = replace(LOCAL, local_id="sha256:m1", image_id="sha256:m1", digest="sha256:m1")
    assert answered(manifest(1), service).available is False
    assert answered(manifest(2), service).available is True
    several = answered([manifest(2), manifest(3)], service)
    assert several.available is None
    assert several.problem


def test_a_manifest_of_an_old_kind_tells_nothing() -> None:
    assert answered({"Descriptor": {"digest": "sha256:x"}}).available is None


@pytest.mark.parametrize("answer", [1, "x", [None], {}, {"Descriptor": {"digest": 1}}])
def test_an_answer_of_another_kind_is_refused(answer: object) -> None:
    with pytest.raises(ParseFailed, match="manifest_0"):
        answered(answer)
