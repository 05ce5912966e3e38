"""The bounds of the dependencies in pyproject.toml."""

import pytest

from scripts.oldest_versions import floor, requirements

UNBOUNDED = {"tzdata": "its versions are dates, and no zone is ever taken out"}
"""What may be of any later version, and why."""


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_dependency__has_a_floor_and_ends_before_a_major_version_that_nobody_tried(requirement):
    assert floor(requirement)
    ceilings = [bound.version for bound in requirement.specifier if bound.operator == "<"]
    assert len(ceilings) == (0 if requirement.name in UNBOUNDED else 1)
