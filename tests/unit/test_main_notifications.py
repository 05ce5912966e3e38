"""`tendhostd check-config` and `notify-test`: what is said of targets and hooks before anything is served."""

import asyncio
from pathlib import Path

import pytest

from tendhost.server.main import main
from tests.unit.remote.web_receiver import free_port, receiving

SECRET = "s3cr3t-t0k3n"


@pytest.fixture(autouse=True)
def _nobody_s_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TENDHOST_SSH_KEY", raising=False)


def configured(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "tendhostd.toml"
    file.write_text(text)
    return ["--config", str(file)]


def test_settings_that_can_be_used_are_said_to_be(tmp_path, capsys):
    text = f"""
    [[notify]]
    name = "ops"
    urls = ["json://{SECRET}@127.0.0.1/"]
    events = ["host_failed"]
    body = "{{host}}: {{text}}"

    [[wave_hook]]
    name = "lb"
    when = "after_wave"
    command = ["sh", "-c", "true"]
    """
    assert main([*configured(tmp_path, text), "check-config"]) == 0
    assert capsys.readouterr().out == "the configuration is valid\n"
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('events = ["host_died"]', "invalid value 'host_died', expected one of rollout_started"),
        ('title = "{hostname}"', "title: invalid value '{hostname}'"),
        ('body = "{host!r}"', "body: invalid value '{host!r}'"),
        ('body = "{host"', "expected text with fields"),
        ("per_minute = 0", "per_minute: invalid value 0"),
    ],
)
def test_a_target_that_cannot_be_used_is_refused_in_one_line(tmp_path, capsys, text, words):
    target = f'[[notify]]\nname = "ops"\nurls = ["json://{SECRET}@127.0.0.1/"]\n{text}\n'
    assert main([*configured(tmp_path, target), "check-config"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert SECRET not in said


def test_a_hook_whose_program_is_not_there_is_refused(tmp_path, capsys):
    hook = '[[wave_hook]]\nname = "lb"\nwhen = "before_wave"\ncommand = ["no-such-program"]\n'
    assert main([*configured(tmp_path, hook), "check-config"]) == 2
    assert "wave_hook 'lb': command: invalid value 'no-such-program'" in capsys.readouterr().err


async def test_a_test_message_is_sent_and_what_went_wrong_is_said(tmp_path, capsys):
    async with receiving(200, 500) as receiver:
        text = f"""
        [[notify]]
        name = "ops"
        urls = ["json://127.0.0.1:{receiver.port}/{SECRET}"]

        [[notify]]
        name = "down"
        urls = ["json://127.0.0.1:{free_port()}/{SECRET}"]
        """
        options = configured(tmp_path, text)

        def tested(name: str) -> int:
            return main([*options, "notify-test", name])

        assert await asyncio.to_thread(tested, "ops") == 0
        assert capsys.readouterr().out == "ops accepted the message\n"
        assert receiver.titles == ["tendhost: test message"]
        assert await asyncio.to_thread(tested, "ops") == 1
        assert "answered with status 500" in capsys.readouterr().err
        assert await asyncio.to_thread(tested, "down") == 1
        said = capsys.readouterr().err
        assert "could not be reached" in said
        assert SECRET not in said
        assert await asyncio.to_thread(tested, "other") == 1
        assert "expected a target (ops, down)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        f'log_level = "https://me:{SECRET}@example.org"',
        f'[[audit_sink]]\nname = "x"\nkind = "syslog"\naddress = "tcp://me:{SECRET}@log"',
        f'[[wave_hook]]\nname = "x"\nwhen = "before_wave"\ncommand = "curl -u {SECRET}"',
    ],
)
def test_secret_in_a_wrong_setting__is_not_repeated(tmp_path, capsys, text):
    assert main([*configured(tmp_path, text), "check-config"]) == 2
    said = capsys.readouterr().err
    assert "expected" in said
    assert SECRET not in said
