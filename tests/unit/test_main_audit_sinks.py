"""`tendhostd check-config`: what is said of audit sinks before anything is served."""

import os
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.main import main

SECRET = "s3cr3t-t0k3n-0123456789"
HOOK = f'kind = "webhook"\nurl = "https://siem.example.org/{SECRET}"\n'


@pytest.fixture(autouse=True)
def _nobody_s_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TENDHOST_SSH_KEY", raising=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    (tmp_path / "credentials").mkdir()


def checked(tmp_path: Path, text: str) -> int:
    file = tmp_path / "tendhostd.toml"
    file.write_text(text.replace("FOLDER", str(tmp_path)))
    return main(["--config", str(file), "check-config"])


def secret(path: Path, *, mode: int = 0o600, text: str = SECRET) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_sinks__of_each_kind_are_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    secret(tmp_path / "key")
    secret(tmp_path / "credentials" / "siem", mode=0o440)  # as systemd makes it
    text = f"""
    [[audit_sink]]
    name = "disk"
    kind = "file"
    path = "FOLDER/audit.jsonl"
    max_size = 1000000
    keep = 3

    [[audit_sink]]
    name = "journal"
    kind = "syslog"

    [[audit_sink]]
    name = "collector"
    kind = "syslog"
    address = "tcp://[::1]:6514"
    facility = "local3"

    [[audit_sink]]
    name = "siem"
    {HOOK}
    secret_file = "FOLDER/key"

    [[audit_sink]]
    name = "siem2"
    {HOOK}
    secret_credential = "siem"
    """
    assert checked(tmp_path, text) == 0, capsys.readouterr().err
    assert not (tmp_path / "audit.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a 'kind'"),
        ('kind = "kafka"', "kind: invalid value 'kafka', expected file or syslog or webhook"),
        ('kind = "file"', "the absolute path of a file in a folder that exists"),
        ('kind = "file"\npath = "audit.jsonl"', "the absolute path"),
        ('kind = "file"\npath = "/no/such/folder/audit"', "in a folder that exists"),
        ('kind = "file"\npath = "FOLDER/a"\nmax_size = 10', "max_size: invalid value 10"),
        ('kind = "file"\npath = "FOLDER/a"\nkeep = 0', "keep: invalid value 0"),
        ('kind = "file"\npath = "FOLDER/a"\nfacility = "user"', "with the kind syslog only"),
        ('kind = "syslog"\naddress = "log:514"', "unix:/PATH, udp://HOST:PORT or tcp://HOST:PORT"),
        ('kind = "syslog"\nfacility = "kernel"', "one of user, daemon, auth, authpriv, audit"),
        ('kind = "syslog"\npath = "/x"', "path: invalid value '…', expected this key with the"),
        ('kind = "webhook"', "an http or https URL"),
        (f'kind = "webhook"\nurl = "ftp://x/{SECRET}"', "an http or https URL"),
        (f'kind = "webhook"\nurl = ["{SECRET}"]', "expected text"),
        (HOOK, "either a secret_file or a secret_credential"),
        (f'{HOOK}secret_file = "/x"\nsecret_credential = "y"', "either a secret_file or a"),
        (f'{HOOK}secret_file = "FOLDER/none"', "No such file"),
        (f'{HOOK}secret_file = "FOLDER/open"', "others may read it (mode 0644); run: chmod 600"),
        (f'{HOOK}secret_file = "FOLDER/short"', "it has 5 bytes"),
        (f'{HOOK}secret_file = "FOLDER/pipe"', "it is a pipe, expected a regular file"),
        (f'{HOOK}secret_file = "FOLDER"', "it is a folder, expected a regular file"),
        (f'{HOOK}secret_credential = "../short"', "the name of a credential"),
        (f'{HOOK}secret_credential = "none"', "No such file"),
    ],
)
def test_sink__that_cannot_be_used_is_refused_in_one_line_without_secrets(
    tmp_path: Path, capsys: Any, text: str, words: str
):
    secret(tmp_path / "open", mode=0o644)
    secret(tmp_path / "short", text="five5\n")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert checked(tmp_path, f'[[audit_sink]]\nname = "x"\n{text}\n') == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert SECRET not in said
    assert "audit_sink 'x'" in said


@pytest.mark.parametrize(
    "path", ["FOLDER/a", "FOLDER/../FOLDERNAME/a", "FOLDER/link/a", "FOLDER/a.10"]
)
def test_sinks__with_the_same_file_are_refused(tmp_path: Path, capsys: Any, path: str):
    (tmp_path / "link").symlink_to(tmp_path)
    table = '[[audit_sink]]\nname = "{}"\nkind = "file"\npath = "{}"\n'
    other = path.replace("FOLDERNAME", tmp_path.name)
    text = table.format("x", "FOLDER/a") + table.format("y", other)
    assert checked(tmp_path, text) == 2
    assert "audit_sink 'y': path" in capsys.readouterr().err
