"""What users type, and how things are put into words."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from tendhost.client import MaintenanceWindow, PackageChange, UpdateResult
from tendhost.client.cli import _global_first
from tendhost.client.cli.formatting import counted, duration, lasting, window
from tendhost.client.cli.render.operations import update_sentence
from tendhost.client.cli.session import clean, plain


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1d2h3m4s", 93_784),
        ("90m", 5400),
    ],
)
def test_duration_is_understood(text, seconds):
    assert duration(text, "--delay") == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "5 m", "1m1h", "-5s", "1.5h", "1w", "5M", "9999999s", "٣s"]
)
def test_what_is_no_duration_is_refused_with_what_is_expected(text, capsys):
    with pytest.raises(typer.Exit) as refused:
        duration(text, "--delay")
    assert refused.value.exit_code == 2
    assert capsys.readouterr().err == (
        f"error: --delay: invalid duration {text!r}; use one such as 30s, 5m, 1h30m or 0\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "sat,sun 22:00-04:00 Europe/Vienna",
            MaintenanceWindow(
                start="22:00", end="04:00", days=("sat", "sun"), time_zone="Europe/Vienna"
            ),
        ),
        ("02:00-04:00", MaintenanceWindow(start="02:00", end="04:00")),
        ("daily 2:00-4:00", MaintenanceWindow(start="02:00", end="04:00")),
        (
            " mon  9:30-17:00  UTC ",
            MaintenanceWindow(start="09:30", end="17:00", days=("mon",), time_zone="UTC"),
        ),
        (
            "02:00-04:00 UTC, cut-off 30m",
            MaintenanceWindow(start="02:00", end="04:00", cutoff=timedelta(minutes=30)),
        ),
        (
            "02:00-04:00 cutoff 1h",
            MaintenanceWindow(start="02:00", end="04:00", cutoff=timedelta(hours=1)),
        ),
    ],
)
def test_window_is_understood(text, expected):
    assert window(text, "--window") == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "invalid window ''; use one such as 'sat,sun 22:00-04:00 Europe/Vienna'"),
        ("someday", "invalid window 'someday'"),
        ("22:00", "invalid window '22:00'"),
        ("sat 22:00-04:00 UTC now", "invalid window 'sat 22:00-04:00 UTC now'"),
        ("sat,xyz 22:00-04:00", "invalid day 'xyz'; use mon, tue, wed"),
    ],
)
def test_what_is_no_window_is_refused_with_what_is_expected(text, said, capsys):
    with pytest.raises(typer.Exit):
        window(text, "--window")
    assert f"--window: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["host", "list", "--output", "json"], ["--output", "json", "host", "list"]),
        (["host", "list", "--output=json"], ["--output=json", "host", "list"]),
        (
            ["update", "a", "--server", "x", "--dry-run"],
            ["--server", "x", "update", "a", "--dry-run"],
        ),
        (["update", "--", "--output"], ["update", "--", "--output"]),
        (["update", "a", "--output"], ["--output", "update", "a"]),
        (["host", "list", "--outputs", "json"], ["host", "list", "--outputs", "json"]),
    ],
)
def test_global_options_may_stand_anywhere(given, expected):
    assert _global_first(given) == expected


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("two\nlines", "two lines"),
        ("a \r\n\t b", "a b"),
        ("two  blanks stay", "two  blanks stay"),
        ("\x1b[31mred", "�[31mred"),
        ("bell\x07, zero\x00, c1\x9b", "bell�, zero�, c1�"),
        ("turned \u202e round", "turned � round"),
        ("Überprüfung → ja", "Überprüfung → ja"),
    ],
)
def test_foreign_text_is_one_line_that_cannot_steer_a_terminal(said, shown):
    assert clean(said) == shown


def test_times_and_durations_are_plain_for_programs():
    at = datetime(2027, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    value = {"at": at, "took": timedelta(seconds=1.5), "none": None, "many": (at,)}
    assert plain(value) == {
        "at": "2027-01-02T03:04:05.678000Z",
        "took": 1.5,
        "none": None,
        "many": ["2027-01-02T03:04:05.678000Z"],
    }


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0s"), (0.44, "0.4s"), (59.9, "59.9s"), (60, "1m00s"), (605, "10m05s")],
)
def test_time_that_something_took_is_short(seconds, shown):
    begun = datetime(2027, 1, 1, tzinfo=UTC)
    assert lasting(begun, begun + timedelta(seconds=seconds)) == shown
    assert lasting(begun, None) == ""


def test_nouns_follow_their_numbers():
    assert [counted(n, "host") for n in (0, 1, 2)] == ["0 hosts", "1 host", "2 hosts"]


def result(
    *changes: tuple[str, str], rebooted: bool = False, reboot_required: bool = False
) -> UpdateResult:
    packages = tuple(
        PackageChange(name="p", from_version=before, to_version=after) for before, after in changes
    )
    return UpdateResult(
        success=True,
        upgraded_count=len(packages),
        packages=packages,
        withheld=(),
        kept_conffiles=(),
        saved_conffiles=(),
        undone=(),
        reboot_required=reboot_required,
        rebooted=rebooted,
        plan_differences=(),
        download_bytes=None,
        snapshot="",
        projects=(),
        restarted_services=(),
        rolled_back=False,
        health=None,
    )


@pytest.mark.parametrize(
    ("update", "dry_run", "sentence"),
    [
        (result(), False, "nothing to do"),
        (result(), True, "nothing would be changed"),
        (result(("1", "2")), False, "1 package upgraded"),
        (result(("1", "2")), True, "1 package would be upgraded"),
        (
            result(("1", "2"), ("1", "2"), ("", "1"), ("1", ""), rebooted=True),
            False,
            "2 packages upgraded, 1 package installed, 1 package removed, rebooted",
        ),
        (
            result(("1", "2"), reboot_required=True),
            False,
            "1 package upgraded, a reboot is needed",
        ),
    ],
)
def test_update_is_told_in_a_sentence(update, dry_run, sentence):
    assert update_sentence(update, dry_run=dry_run) == sentence
