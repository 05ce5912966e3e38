"""The recorded output of real hosts: beside each recording, its `.source` says where it is from."""

from datetime import UTC, datetime
from pathlib import Path

from tendhost.server.packages.apt.progress import AptStatusParser
from tendhost.server.packages.detection import package_manager
from tendhost.server.packages.package_manager import PackageManager
from tendhost.server.packages.progress import TransactionProgress
from tendhost.server.packages.query import QueryResult, parse_query
from tests.skipped_parts import with_skips

RECORDED = Path(__file__).parent / "recorded"
ASKED_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)

_END = b"\n\x1etendhost end\n"
_OWNERS = b"\n\x1etendhost kernel_owners "

_MANAGERS = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora40": "dnf",
    "fedora42": "dnf5",
    "opensuse": "zypper",
    "arch": "pacman",
    "alpine": "apk",
}


def manager_of(system: str) -> PackageManager:
    """The package manager of a system: "fedora40-dnf4"."""
    name = next(name for start, name in _MANAGERS.items() if system.startswith(start))
    manager = package_manager(name)
    assert manager is not None
    return manager


def recorded(name: str, *, owners: str = "") -> bytes:
    """The output of a script: "debian12/query". Scripts say now what they skipped.

    Queries ask now which packages own kernels: `owners`, for recordings from before.
    """
    output = (RECORDED / f"{name}.out").read_bytes()
    if b"\n\x1etendhost reboot_required " in output and _OWNERS not in output:
        output = output.replace(
            _END, _OWNERS + b"stderr\n" + _OWNERS + b"0\n" + owners.encode() + _END
        )
    return with_skips(output)


def names(pattern: str) -> list[str]:
    """The names of the recordings whose file matches `pattern`."""
    return sorted(
        str(path.relative_to(RECORDED).with_suffix("")) for path in RECORDED.glob(pattern)
    )


def query(name: str, *, owners: str = "") -> QueryResult:
    """What a recorded query means."""
    return parse_query(recorded(name, owners=owners), at=ASKED_AT)


def log(name: str) -> str:
    """What a command wrote to stderr."""
    return (RECORDED / f"{name}.log").read_text()


def exit_status(name: str) -> int:
    """How a command ended."""
    return int((RECORDED / f"{name}.rc").read_text())


def progress(name: str) -> list[TransactionProgress]:
    """The progress that a command reported."""
    return AptStatusParser().feed((RECORDED / f"{name}.status").read_bytes())
