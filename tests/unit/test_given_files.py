"""Files that people name to `tendhostd`: what is no regular file, or is too large, is refused, and nothing waits."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tendhost.server.given_files import (
    FileMissing,
    FileUnusable,
    lines_of,
    read_given,
    require_regular,
    version_of,
)
from tendhost.server.main import main

MOST = 1000


def a_socket(file: Path) -> None:
    os.mknod(file, 0o140600)


def sparse(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(1 << 40)


UNUSABLE: list[tuple[Callable[[Path], object], str]] = [
    (lambda file: file.mkdir(), "it is a folder, expected a regular file"),
    (os.mkfifo, "it is a pipe, expected a regular file"),
    (a_socket, "it is a socket, expected a regular file"),
    (lambda file: file.symlink_to("/dev/zero"), "it is a device, expected a regular file"),
    (lambda file: file.symlink_to("/dev/full"), "it is a device, expected a regular file"),
    (lambda file: file.symlink_to(file), "Too many levels of symbolic links"),
    (lambda file: None, "No such file or directory"),
]
IDS = ["folder", "pipe", "socket", "endless", "device", "loop", "missing"]


@pytest.mark.parametrize(("make", "words"), UNUSABLE, ids=IDS)
@pytest.mark.parametrize(
    "read",
    [
        lambda file: read_given(file, most=MOST),
        lambda file: list(lines_of(file, most=MOST)),
        require_regular,
    ],
    ids=["read", "lines", "require"],
)
def test_file__that_is_not_regular_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], object], words: str, read: Callable[[Path], object]
):
    make(tmp_path / "given")
    with pytest.raises(FileUnusable, match=f"^cannot be read: {words}"):
        read(tmp_path / "given")


@pytest.mark.parametrize("read", [lambda p: read_given(p, most=MOST), version_of, require_regular])
def test_path__with_a_nul_is_refused(read: Callable[[Path], object]):
    with pytest.raises(FileUnusable, match="null"):
        read(Path("a\0b"))


def test_file__of_any_size_is_read_up_to_the_bound_only(tmp_path: Path):
    file = tmp_path / "given"
    file.write_bytes(b"x" * MOST)
    assert read_given(file, most=MOST).data == b"x" * MOST
    assert list(lines_of(file, most=MOST)) == [b"x" * MOST]
    sparse(file)
    with pytest.raises(FileUnusable, match=f"it has more than {MOST} bytes"):
        read_given(file, most=MOST)
    with pytest.raises(FileUnusable, match=f"its line 1 has more than {MOST} bytes"):
        list(lines_of(file, most=MOST))


def test_null_device__is_an_empty_file():
    assert read_given("/dev/null", most=MOST).data == b""
    assert list(lines_of("/dev/null", most=MOST)) == []


def test_missing_file__is_told_apart(tmp_path: Path):
    with pytest.raises(FileMissing):
        read_given(tmp_path / "given", most=MOST)


@pytest.mark.parametrize(
    ("mode", "owner", "exposed"),
    [
        *((0o600, "own", False), (0o400, "own", False), (0o640, "own", True)),
        *((0o604, "own", True), (0o620, "own", True), (0o440, "other", False)),
        *((0o604, "other", True), (0o602, "other", True)),
    ],
)
def test_secret__is_exposed_where_others_than_its_owner_or_our_group_may_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: str, exposed: bool
):
    file = tmp_path / "given"
    file.write_bytes(b"secret")
    file.chmod(mode)
    if owner == "other":
        monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    found = read_given(file, most=MOST).exposure
    assert found == (
        f"others may read it (mode {mode:04o}); run: chmod 600 {file}" if exposed else ""
    )


def config(folder: Path, *lines: str) -> Path:
    file = folder / "tendhostd.toml"
    file.write_text("\n".join(lines))
    return file


def with_config(folder: Path, given: Path) -> list[str]:
    return ["--config", str(given), "check-config"]


def with_host_ca(folder: Path, given: Path) -> list[str]:
    table = ("[[host_ca]]", 'name = "fleet"', f'file = "{given}"')
    return ["--config", str(config(folder, *table)), "check-config"]


def with_secret(folder: Path, given: Path) -> list[str]:
    url, secret = 'url = "https://siem.example.org/"', f'secret_file = "{given}"'
    table = ("[[audit_sink]]", 'name = "siem"', 'kind = "webhook"', url, secret)
    return ["--config", str(config(folder, *table)), "check-config"]


def with_keys(folder: Path, given: Path) -> list[str]:
    names = ('issuer = "https://sso.example.org/"', 'audience = ["tendhost"]', 'viewer = ["staff"]')
    table = ("[[oidc_issuer]]", 'name = "company"', *names, f'jwks_file = "{given}"')
    return ["--config", str(config(folder, *table)), "check-config"]


def with_export(folder: Path, given: Path) -> list[str]:
    return ["--config", "/dev/null", "--state-dir", str(folder), "audit", "verify", str(given)]


def with_copy(folder: Path, given: Path) -> list[str]:
    return ["--config", "/dev/null", "--state-dir", str(folder), "restore", str(given)]


@pytest.mark.parametrize(("make", "words"), UNUSABLE, ids=IDS)
@pytest.mark.parametrize(
    "command", [with_config, with_host_ca, with_secret, with_keys, with_export, with_copy]
)
def test_command__says_which_file_it_does_not_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[Path, Path], list[str]],
    make: Callable[[Path], object],
    words: str,
):
    given = tmp_path / "given"
    make(given)
    assert main(command(tmp_path, given)) in (1, 2)
    said = capsys.readouterr().err
    assert str(given) in said
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "command", [with_config, with_host_ca, with_secret, with_keys, with_export]
)
def test_command__reads_no_file_beyond_its_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: Callable[[Path, Path], list[str]]
):
    sparse(tmp_path / "given")
    (tmp_path / "given").chmod(0o600)
    assert main(command(tmp_path, tmp_path / "given")) in (1, 2)
    assert " bytes" in (said := capsys.readouterr().err)
    assert "has more than" in said
