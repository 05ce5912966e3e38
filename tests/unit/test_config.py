"""The server's settings: where they come from, who wins, and what is said of those that cannot be."""

import base64
import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.config import SettingError, Settings, load_settings, runtime_socket


def load(
    text: str | None = None,
    *,
    tmp_path: Path,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> Settings:
    """The settings that this file, environment and command line make."""
    file = None
    if text is not None:
        file = tmp_path / "tendhostd.toml"
        file.write_text(text, encoding="utf-8")
    home = {"XDG_CONFIG_HOME": str(tmp_path / "none"), "XDG_STATE_HOME": str(tmp_path / "state")}
    return load_settings(file=file, environment=home | (environment or {}), options=options)


def refused(text: str | None = None, **how: Any) -> str:
    with pytest.raises(SettingError) as caught:
        load(text, **how)
    return str(caught.value)


def test_without_a_word_there_are_defaults(tmp_path: Path):
    settings = load(tmp_path=tmp_path, environment={"XDG_RUNTIME_DIR": "/run/user/7"})
    listen = ("unix:/run/user/7/tendhost/tendhostd.sock", "127.0.0.1:50051")
    assert settings == Settings(listen=listen, state_dir=tmp_path / "state" / "tendhost")
    assert settings.auth == "required"


@pytest.mark.parametrize(
    ("environment", "socket"),
    [
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/c"}, "/run/a"),
        ({"XDG_RUNTIME_DIR": "/run/c"}, "/run/c/tendhost"),
        ({"XDG_RUNTIME_DIR": "relative"}, None),
        ({}, None),
    ],
)
def test_socket__is_in_the_runtime_folder(environment: dict[str, str], socket: str | None):
    fallback = "/run/tendhost" if os.geteuid() == 0 else "/state"
    found = runtime_socket(environment, Path("/state"))
    assert found == Path(socket or fallback) / "tendhostd.sock"


@pytest.mark.parametrize(
    "line",
    [
        "listen = 'unix:/a, 0.0.0.0:50051'",
        "listen = ['unix:/a', '0.0.0.0:50051']",
    ],
)
def test_listen__may_name_several_addresses(tmp_path: Path, line: str):
    assert load(line + "\n", tmp_path=tmp_path).listen == ("unix:/a", "0.0.0.0:50051")


def test_the_command_line_beats_the_environment_which_beats_the_file(tmp_path: Path):
    text = "history_days = 1\noperations_at_once = 1\nlog_level = 'error'\n"
    environment = {"TENDHOST_OPERATIONS_AT_ONCE": "2", "TENDHOST_LOG_LEVEL": "warning"}
    settings = load(text, tmp_path=tmp_path, environment=environment, log_level="debug")
    assert settings.history_days == 1
    assert settings.operations_at_once == 2
    assert settings.log_level == "debug"


def test_a_file_in_the_users_folder_is_found(tmp_path: Path):
    folder = tmp_path / "config" / "tendhost"
    folder.mkdir(parents=True)
    (folder / "tendhostd.toml").write_text("history_days = 7\n", encoding="utf-8")
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert load(tmp_path=tmp_path, environment=environment).history_days == 7


def test_a_folder_that_is_not_absolute_is_not_taken(tmp_path: Path):
    settings = load(tmp_path=tmp_path, environment={"XDG_STATE_HOME": "here"})
    assert settings.state_dir.is_absolute()
    assert "here" not in settings.state_dir.parts


@pytest.mark.parametrize(
    ("key", "near"),
    [("lissten", "listen"), ("history_day", "history_days"), ("log-level", "log_level")],
)
def test_an_unknown_key_is_refused_and_the_near_one_named(tmp_path: Path, key: str, near: str):
    message = refused(f"{key} = 1\n", tmp_path=tmp_path)
    assert f"did you mean '{near}'?" in message
    assert "tendhostd.toml" in message


def test_a_key_that_is_like_none_is_refused_with_those_that_are(tmp_path: Path):
    assert "one of listen, auth, tls_certificate" in refused("zzz = 1\n", tmp_path=tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        *("listen = []", "tls_key = ''", 'tls_key = "a\\u0000b"', "state_dir = ''"),
        *("operations_at_once = 0", "operations_at_once = 10001", "operations_at_once = 'many'"),
        *("operations_at_once = 3.7", "operations_at_once = true", "operations_at_once = inf"),
        *("connect_timeout = 0", "connect_timeout = nan", "connect_timeout = inf"),
        *("log_level = 'loud'", "log_level = 3", "listen = 50051", "state_dir = 5"),
        *("auth = 'maybe'", "auth = 3", "tls_key = 5", "listen = [5]"),
        *("lock_timeout = -1", "history_events = 999", "ssh_key = 'x'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(tmp_path: Path, line: str):
    key = line.split(" ", maxsplit=1)[0]
    assert key in refused(line + "\n", tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("operations_at_once = 10000", "operations_at_once", 10_000),
        ("connect_timeout = 1", "connect_timeout", 1.0),
        ("connect_timeout = 0.5", "connect_timeout", 0.5),
        ("lock_timeout = 0", "lock_timeout", 0.0),
        ("listen = 'unix:/run/tendhost.sock'", "listen", ("unix:/run/tendhost.sock",)),
    ],
)
def test_a_value_at_its_bound_is_taken(tmp_path: Path, line: str, key: str, value: object):
    assert getattr(load(line + "\n", tmp_path=tmp_path), key) == value


def test_a_file_that_is_named_must_be_there(tmp_path: Path):
    with pytest.raises(SettingError, match=r"nothing\.toml"):
        load_settings(file=tmp_path / "nothing.toml", environment={}, options={})


@pytest.mark.parametrize("content", [b"a = = b", b"\xff\xfe", b"[table]\nlisten = 'x'\n"])
def test_a_file_that_is_no_settings_is_refused_by_name(tmp_path: Path, content: bytes):
    file = tmp_path / "tendhostd.toml"
    file.write_bytes(content)
    with pytest.raises(SettingError, match=r"tendhostd\.toml"):
        load_settings(file=file, environment={}, options={})


def test_a_folder_is_no_file_of_settings(tmp_path: Path):
    with pytest.raises(SettingError, match="it is a folder, expected a regular file"):
        load_settings(file=tmp_path, environment={}, options={})


def test_a_key_of_the_environment_is_decoded(tmp_path: Path):
    encoded = base64.encodebytes(b"-----BEGIN KEY-----\n" * 10).decode()
    settings = load(tmp_path=tmp_path, environment={"TENDHOST_SSH_KEY": encoded})
    assert settings.ssh_key == b"-----BEGIN KEY-----\n" * 10


@pytest.mark.parametrize("secret", ["s3cret!", "s3cré", "AAA"])
def test_a_key_that_cannot_be_decoded_is_refused_without_being_repeated(
    tmp_path: Path, secret: str
):
    message = refused(tmp_path=tmp_path, environment={"TENDHOST_SSH_KEY": secret})
    assert "TENDHOST_SSH_KEY" in message
    assert secret not in message


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path):
    settings = load(tmp_path=tmp_path, environment={"TENDHOST_HISTORY_DAYS": ""})
    assert settings.history_days == Settings().history_days


@given(value=st.text(max_size=20))
def test_whatever_stands_in_the_environment_is_a_setting_or_refused(
    tmp_path_factory: pytest.TempPathFactory, value: str
):
    folder = tmp_path_factory.getbasetemp()
    for name in ("OPERATIONS_AT_ONCE", "CONNECT_TIMEOUT", "LISTEN", "LOG_LEVEL", "SSH_KEY"):
        with contextlib.suppress(SettingError):
            load(tmp_path=folder, environment={f"TENDHOST_{name}": value})


def test_every_setting_is_in_the_documentation_with_its_default():
    text = Path("docs/configuration.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Settings):
        if field.name == "ssh_key":
            assert "`TENDHOST_SSH_KEY`" in text
            continue
        row = next(line for line in text.splitlines() if line.startswith(f"| `{field.name}` |"))
        if field.name == "listen":
            assert "| a unix socket of its own, and `127.0.0.1:50051` |" in row
        elif field.name.startswith("tls_"):
            assert "| that of `tendhostd tls init` |" in row
        elif field.name != "state_dir":
            default = f"{field.default:g}" if isinstance(field.default, float) else field.default
            default = "none" if default in ((), "") else default
            assert f"| {default} |" in row or f"| `{default}` |" in row, row


# --- notifications and wave hooks -----------------------------------------------------------------

NOTIFY = """
[[notify]]
name = "ops"
urls = ["ntfy://s3cret@ntfy.example.org/fleet"]
events = ["rollout_halted", "host_failed"]
groups = ["berlin"]
per_minute = 5
title = "{event}"
"""
WAVE_HOOK = """
[[wave_hook]]
name = "lb"
when = "before_wave"
command = ["/usr/local/bin/drain", "--now"]
timeout = 30
"""


def test_targets_of_notifications_and_wave_hooks_stand_in_the_file(tmp_path: Path):
    settings = load(f"history_days = 7\n{NOTIFY}{WAVE_HOOK}", tmp_path=tmp_path)
    (ops,), (lb,) = settings.notify, settings.wave_hook
    assert (ops.name, ops.events, ops.groups) == (
        "ops",
        ("rollout_halted", "host_failed"),
        ("berlin",),
    )
    assert (ops.urls, ops.per_minute) == (("ntfy://s3cret@ntfy.example.org/fleet",), 5)
    assert (lb.when, lb.command, lb.timeout) == (
        "before_wave",
        ("/usr/local/bin/drain", "--now"),
        30.0,
    )
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("notify = 'x'", "tables headed [[notify]]"),
        ("[notify]\nname = 'x'", "tables headed [[notify]]"),
        ("[[notify]]\nurls = ['json://s3cret']", "notify 1"),
        ("[[notify]]\nname = 'ops'", "a 'urls'"),
        ("[[notify]]\nname = 'ops'\nurls = []", "a 'urls'"),
        ("[[notify]]\nname = 'ops'\nurls = 'json://s3cret'", "a list of text"),
        (NOTIFY.replace("per_minute", "per_minit"), "did you mean 'per_minute'"),
        (NOTIFY.replace("= 5", "= 0"), "per_minute"),
        (NOTIFY + NOTIFY, "a name of its own for each"),
        (WAVE_HOOK.replace("before_wave", "sometimes"), "before_wave or after_wave"),
        (WAVE_HOOK.replace("command", "url"), "expected text"),
        (WAVE_HOOK + "url = 'http://s3cret.example.org'", "either a command or a url"),
        ("[[wave_hook]]\nname = 'x'\nwhen = 'after_wave'", "either a command or a url"),
        (
            "[[wave_hook]]\nname = 'x'\nwhen = 'after_wave'\nurl = 'http://s3cret.example.org/é'",
            "an http or https URL",
        ),
        (
            "[[wave_hook]]\nname = 'x'\nwhen = 'after_wave'\nurl = 'ftp://s3cret.example.org'",
            "an http or https URL",
        ),
        (WAVE_HOOK.replace("30", "0"), "timeout"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_and_no_secret_is_told(tmp_path, text, words):
    said = refused(text, tmp_path=tmp_path)
    assert words in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "text", ["attempts = " + "9" * 5000, "attempts = " + "[" * 5000, "=", "\0"]
)
def test_file_that_toml_cannot_hold__is_refused_as_a_setting(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tendhostd.toml"
    file.write_text(text)
    with pytest.raises(SettingError, match="a TOML file"):
        load_settings(file=file, environment={}, options={})


def test_settings__do_not_show_their_secrets(tmp_path: Path) -> None:
    key = base64.b64encode(b"s3cret").decode()
    settings = load(tmp_path=tmp_path, environment={"TENDHOST_SSH_KEY": key})
    assert settings.ssh_key == b"s3cret"
    assert "s3cret" not in repr(settings)
