"""Reads the recipes of deploy/, and fits them to a test: other addresses, other files, nothing else."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightkube.models.apps_v1
import lightkube.models.core_v1
import lightkube.models.policy_v1
import msgspec
import yaml

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
_GROUPS = {
    "v1": lightkube.models.core_v1,
    "apps/v1": lightkube.models.apps_v1,
    "policy/v1": lightkube.models.policy_v1,
}


def recipe(name: str) -> str:
    """The text of a file below deploy/."""
    return (DEPLOY / name).read_text(encoding="utf-8")


def fitted(text: str, changes: Mapping[str, str]) -> str:
    """The text with other addresses and paths. Raises AssertionError where one of them is not there."""
    for old, new in changes.items():
        assert old in text, f"the recipe has no {old}"
        text = text.replace(old, new)
    return text


def manifests(text: str) -> list[dict[str, Any]]:
    """The objects of a Kubernetes manifest."""
    return list(yaml.safe_load_all(text))


def problems(manifest: Mapping[str, Any]) -> list[str]:
    """What the API of Kubernetes would refuse: fields that it has not, that are missing, or of another type."""
    kind = getattr(_GROUPS[manifest["apiVersion"]], manifest["kind"])
    try:
        kept = msgspec.convert(manifest, kind)
    except msgspec.ValidationError as error:
        return [str(error)]
    return list(_left_out(manifest, msgspec.to_builtins(kept), manifest["kind"]))


def _left_out(given: Any, kept: Any, where: str) -> Iterator[str]:
    """msgspec leaves out the fields that a type has not."""
    if isinstance(given, Mapping):
        yield from (f"{where} has no field {name}" for name in given if name not in kept)
        for name in given.keys() & kept.keys():
            yield from _left_out(given[name], kept[name], f"{where}.{name}")
    elif isinstance(given, list):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from _left_out(one, other, f"{where}[{number}]")
