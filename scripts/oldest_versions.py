"""Prints, as constraints of pip, the oldest version that pyproject.toml allows of each direct dependency.

`make test-oldest` installs with them: what is asked of a dependency by mistake only newer versions have fails there.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("server", "notify", "oidc")
"""What users install; development tools may be as new as they like."""


def requirements() -> list[Requirement]:
    """The direct dependencies of what users install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    texts = project["dependencies"] + [text for extra in EXTRAS for text in extras[extra]]
    return [Requirement(text) for text in texts]


def floor(requirement: Requirement) -> str:
    """The oldest version that the requirement allows; ValueError where it allows any."""
    floors = [bound.version for bound in requirement.specifier if bound.operator == ">="]
    if len(floors) != 1:
        raise ValueError(f"{requirement} names no oldest version")
    return floors[0]


def main() -> None:
    for requirement in requirements():
        print(f"{requirement.name}=={floor(requirement)}")


if __name__ == "__main__":
    main()
