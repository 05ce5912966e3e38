"""Local time follows the database of time zones of the machine."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from tendhost.server.domain.local_time import offset_spans
from tendhost.server.domain.policy.windows import MaintenanceWindow

NOW = datetime(2027, 3, 20, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A database of time zones of its own, in which files can be replaced."""
    zoneinfo.reset_tzpath([tmp_path])
    zoneinfo.ZoneInfo.clear_cache()
    yield tmp_path
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


def rules_of(zone: str) -> bytes:
    return files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()


def test_offset_spans__follow_rules_that_have_changed(database: Path) -> None:
    (database / "Europe").mkdir()
    berlin = database / "Europe/Berlin"
    berlin.write_bytes(rules_of("Europe/Berlin"))
    window = MaintenanceWindow(start=time(22), end=time(4), time_zone="Europe/Berlin")
    spans = list(offset_spans("Europe/Berlin", NOW, NOW + timedelta(days=20)))
    assert [span.offset for span in spans] == [timedelta(hours=1), timedelta(hours=2)]

    berlin.write_bytes(rules_of("Asia/Tokyo"))
    zoneinfo.ZoneInfo.clear_cache()  # as the server does once an hour
    spans = list(offset_spans("Europe/Berlin", NOW, NOW + timedelta(days=20)))
    assert [(span.start, span.offset) for span in spans] == [(NOW, timedelta(hours=9))]
    for opens, closes in window.open_spans(NOW, NOW + timedelta(days=20)):
        assert window.contains(opens)
        assert not window.contains(closes)
