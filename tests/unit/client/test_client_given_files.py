"""Files that the user names to `tendhost`: what is no regular file, or is too large, is refused, and nothing waits."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tendhost.client.given_files import FileMissing, FileUnusable, read_given

MOST = 1000


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: file.mkdir(), "it is a folder, expected a regular file"),
        (os.mkfifo, "it is a pipe, expected a regular file"),
        (lambda file: os.mknod(file, 0o140600), "it is a socket, expected a regular file"),
        (lambda file: file.symlink_to("/dev/zero"), "it is a device, expected a regular file"),
        (lambda file: file.symlink_to(file), "Too many levels of symbolic links"),
        (lambda file: file.write_bytes(b"x" * (MOST + 1)), "it has more than 1000 bytes"),
    ],
)
def test_file__that_is_none_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], object], words: str
):
    make(tmp_path / "given")
    with pytest.raises(FileUnusable, match=f"^cannot be read: {words}"):
        read_given(tmp_path / "given", most=MOST)


def test_file__within_the_bound_is_read_whole(tmp_path: Path):
    file = tmp_path / "given"
    file.write_bytes(b"x" * MOST)
    for mode, exposed in ((0o600, False), (0o400, False), (0o640, True), (0o602, True)):
        file.chmod(mode)
        given = read_given(file, most=MOST)
        assert (given.data, given.exposed) == (b"x" * MOST, exposed)
    assert read_given(Path("/dev/null"), most=MOST).data == b""
    with pytest.raises(FileMissing):
        read_given(tmp_path / "none", most=MOST)
    with pytest.raises(FileUnusable, match="null"):
        read_given(Path("a\0b"), most=MOST)
