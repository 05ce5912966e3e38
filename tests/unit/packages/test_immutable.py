"""Systems whose packages are not updated one by one: how they are recognized, queried and refused."""

import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from shlex import quote

import pytest

from tendhost.server.domain import host_errors
from tendhost.server.domain.inventory.inventory import Pending, RebootNeed
from tendhost.server.engine.steps.package_errors import host_error
from tendhost.server.packages.detection import PACKAGE_MANAGERS
from tendhost.server.packages.errors import ImmutableSystem, NotPrivileged
from tendhost.server.packages.facts import parse_os_release
from tendhost.server.packages.immutable import IMMUTABLE, IS_IMAGE, Immutability, parse_immutable
from tendhost.server.packages.package_manager import PackageManager
from tendhost.server.packages.query import Preflight, QueryResult, parse_preflight, parse_query
from tendhost.server.packages.script import Part, framed_script, parse_parts
from tests.unit.packages.recordings import ASKED_AT, recorded

ROOT = "mount / rw rootfs\nmount / rw ext4\n"
SEALED = "mount / ro btrfs\n"


def told(
    facts: str, *, container: bool = False, release: Mapping[str, str] | None = None, **more: str
) -> Immutability | None:
    part = Part(0, facts.rstrip("\n"), "")
    return parse_immutable(part, {**(release or {}), **more}, container=container)


@pytest.mark.parametrize(
    ("facts", "release", "instead"),
    [
        ("tool rpm-ostree\n", {"ID": "fedora", "VARIANT_ID": "silverblue"}, "rpm-ostree upgrade"),
        ("tool rpm-ostree\n", {"ID": "fedora", "VARIANT_ID": "coreos"}, "zincati"),
        ("tool rpm-ostree\n", {"ID": "fedora", "VARIANT_ID": "iot"}, "rpm-ostree upgrade"),
        ("tool bootc\n", {"ID": "centos"}, "bootc upgrade, then reboot"),
        ("tool rpm-ostree\ntool bootc\n", {"ID": "bazzite"}, "rpm-ostree upgrade or bootc upgrade"),
        ("", {"ID": "debian"}, "ostree admin upgrade"),
    ],
)
def test_systems_of_ostree_are_images_whatever_they_call_themselves(
    facts: str, release: dict[str, str], instead: str
) -> None:
    found = told(f"ostree\n{facts}mount / ro composefs\noption boot=live\n", release=release)
    assert found is not None
    assert found.image
    assert found.why == "the system is an image (ostree)"
    assert instead in found.instead


@pytest.mark.parametrize(
    ("id_", "instead"),
    [
        ("nixos", "nixos-rebuild"),
        ("ubuntu-core", "snap refresh"),
        ("flatcar", "update_engine_client"),
        ("talos", "talosctl upgrade"),
        ("bottlerocket", "apiclient"),
        ("vanilla", "abroot"),
        ("steamos", "steamos-update"),
        ("guix", "guix system"),
        ("cos", "image"),
        ("haos", "ha os update"),
    ],
)
def test_systems_that_are_replaced_as_a_whole_are_known_by_their_id(id_: str, instead: str) -> None:
    found = told(ROOT, ID=id_)
    assert found is not None
    assert found.image
    assert instead in found.instead
    assert told(ROOT, ID="own", ID_LIKE=id_) is None


@pytest.mark.parametrize(
    "id_", ["opensuse-microos", "opensuse-leap-micro", "sle-micro", "sl-micro", "opensuse-aeon"]
)
def test_micro_os_and_its_kin_are_updated_in_snapshots(id_: str) -> None:
    for facts in (SEALED, ROOT):
        found = told(f"tool transactional-update\n{facts}", ID=id_)
        assert found is not None
        assert not found.image
        assert found.instead == "transactional-update, then reboot"


def test_a_transactional_server_is_told_from_a_host_that_only_has_the_tool() -> None:
    assert told(f"tool transactional-update\n{ROOT}", ID="opensuse-tumbleweed") is None
    sealed = told(f"tool transactional-update\n{SEALED}", ID="opensuse-tumbleweed")
    assert sealed is not None
    assert "transactional-update" in sealed.instead
    assert told(ROOT, ID="opensuse-slowroll", ID_LIKE="opensuse suse") is None


@pytest.mark.parametrize(
    ("facts", "path"),
    [
        (SEALED, "/"),
        (f"{ROOT}{SEALED}", "/"),
        (f"{ROOT}mount /usr ro squashfs\n", "/usr"),
        ("mount / ro overlay\n", "/"),
    ],
)
def test_a_read_only_root_is_no_place_for_packages(facts: str, path: str) -> None:
    for container in (False, True):
        found = told(facts, ID="debian", container=container)
        assert found is not None
        assert found.why == f"{path} is mounted read-only (Read-only file system)"
    assert told(f"{facts}remounts\n", ID="debian") is None


@pytest.mark.parametrize(
    "facts",
    [
        ROOT,
        f"{SEALED}{ROOT}",
        f"{ROOT}mount /usr rw ext4\n",
        "",
        f"{ROOT}option\n",
        f"{ROOT}staged\ntool rpm-ostree\ntool bootc\n",
    ],
)
def test_an_ordinary_system_is_none_of_them(facts: str) -> None:
    assert told(facts, ID="debian") is None
    assert parse_immutable(None, {"ID": "debian"}, container=False) is None


def options(line: str, folder: Path, shell: str = "sh") -> str:
    """What the script tells of a kernel that was started with this command line."""
    (folder / "cmdline").write_text(f"{line}\n")
    script = IMMUTABLE.replace("/proc/cmdline", str(folder / "cmdline"))
    done = subprocess.run(
        [shell, "-c", f"{script}\nset -f\nimmutable"], capture_output=True, check=True
    )
    lines = done.stdout.decode().splitlines(keepends=True)
    return "".join(fact for fact in lines if not fact.startswith(("mount", "tool", "remounts")))


@pytest.mark.parametrize(
    ("option", "told_of_it"),
    [
        ("overlayroot=tmpfs", "overlayroot=tmpfs"),
        ('overlayroot="tmpfs"', "overlayroot"),
        ("overlayroot=tmpfs:swap=1,recurse=0", "overlayroot=tmpfs"),
        ("overlayroot=device:dev=/dev/sdb1", "overlayroot"),
        ("overlayroot=crypt:dev=/dev/sdb1,pass=hunter2", "overlayroot"),
        ("boot=overlay", "boot=overlay"),
        ("boot=live", "boot=live"),
        ("boot=casper", "boot=casper"),
        ("rd.live.image", "rd.live.image"),
        ("rd.live.image=1", "rd.live.image=1"),
        ("systemd.volatile", "systemd.volatile"),
        ("systemd.volatile=yes", "systemd.volatile=yes"),
        ("systemd.volatile=overlay", "systemd.volatile=overlay"),
    ],
)
def test_what_would_be_lost_at_the_next_boot_is_not_written(
    option: str, told_of_it: str, tmp_path: Path
) -> None:
    for line in (f"{option} quiet", f"root=/dev/sda1 {option}", f"a {option} b"):
        facts = options(line, tmp_path)
        assert facts == f"option {told_of_it}\n"
        found = told(ROOT + facts, ID="ubuntu")
        assert found is not None
        assert f"({told_of_it})" in found.why
        assert told(ROOT + facts, ID="ubuntu", container=True) is None


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    "line",
    [
        "root=/dev/sda1 ro quiet overlayroot=disabled",
        "root=/dev/sda1 myboot=live overlayroot=",
        "overlayroot=disabled:x boot=local systemd.volatile=no rd.live.image=0",
        'overlayroot=""',
        "* ? [a-z] -n",
    ],
)
def test_other_options_of_the_kernel_are_not_told(line: str, shell: str, tmp_path: Path) -> None:
    assert options(line, tmp_path, shell) == ""


@pytest.mark.parametrize(
    "line",
    [
        "root=/dev/sda1 rd.luks.key=hunter2 ip=::::::hunter2",
        "overlayroot=crypt:dev=/dev/vdb,pass=hunter2,mapname=hunter2",
        'overlayroot="crypt:dev=/dev/vdb,pass=hunter2"',
        "overlayroot=hunter2",
        "overlayroot=tmpfs,hunter2",
        "systemd.set_credential=a:hunter2 boot=hunter2 systemd.volatile=hunter2",
        "rd.iscsi.password=hunter2 netroot=iscsi:user:hunter2@10.0.0.1::::iqn inst.vncpassword=hunter2",
    ],
)
def test_values_of_the_kernels_options_do_not_leave_the_host(line: str, tmp_path: Path) -> None:
    assert "hunter2" not in options(line, tmp_path)


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "rootfs"])
def test_a_root_in_memory_is_lost_at_the_next_boot(kind: str) -> None:
    found = told(f"mount / rw {kind}\n", ID="debian")
    assert found is not None
    assert f"/ is a {kind}" in found.why
    assert told(f"mount / rw {kind}\n", ID="debian", container=True) is None


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_tells_an_ordinary_root_from_a_system_of_ostree(
    shell: str, tmp_path: Path
) -> None:
    mounts = "rootfs / rootfs rw 0 0\n/dev/sda2 / ext4 ro,relatime 0 0\n/dev/sda3 /usr xfs rw 0 0\n"
    (tmp_path / "mounts").write_text(f"{mounts}/dev/sda4 /usr/local ext4 ro 0 0\n")
    (tmp_path / "cmdline").write_text("root=/dev/sda2 ro boot=live\n")
    (tmp_path / "ostree-booted").touch()
    (tmp_path / "apt.conf").write_text('DPkg { Pre-Invoke { "mount -o remount,rw /"; }; };\n')
    script = framed_script(
        IMMUTABLE.replace("/proc/self/mounts", str(tmp_path / "mounts"))
        .replace("/proc/cmdline", str(tmp_path / "cmdline"))
        .replace("/run/ostree-booted", str(tmp_path / "ostree-booted"))
        .replace("/etc/apt/apt.conf.d", str(tmp_path / "none"))
        .replace("/etc/apt/apt.conf", str(tmp_path / "apt.conf")),
        "part immutable immutable",
    )
    output = subprocess.run([shell, "-c", script], capture_output=True, check=True).stdout
    part = parse_parts(output, expected=("immutable",))["immutable"]
    facts = [fact for fact in part.stdout.split("\n") if not fact.startswith("tool ")]
    assert facts == [
        "ostree",
        "mount / rw rootfs",
        "mount / ro ext4",
        "mount /usr rw xfs",
        "remounts",
        "option boot=live",
    ]


IMAGES = {
    "ostree": ("ID=fedora", "ostree\ntool bootc", True),
    "ostree alone": ("ID=debian", "ostree", True),
    "an id": ("NAME=x\nID=flatcar\nID_LIKE=coreos", "mount / rw ext4", True),
    "a quoted id": ("ID='nixos'", "", True),
    "snapshots": ('ID="opensuse-microos"', "tool transactional-update\nmount / ro btrfs", False),
    "read-only": ("ID=debian", "mount / ro ext4\nmount /ostree ro ext4", False),
    "a tool": ("ID=fedora\nVARIANT_ID=nixos", "tool rpm-ostree\nmount / rw ext4", False),
    "like one": ("ID=own\nID_LIKE=nixos", "", False),
    "none": ("", "", False),
}


@pytest.mark.parametrize("manager", PACKAGE_MANAGERS, ids=lambda manager: manager.name)
@pytest.mark.parametrize(("release", "facts", "image"), IMAGES.values(), ids=IMAGES)
def test_lists_are_not_fetched_where_nothing_is_read_from_them(
    release: str, facts: str, image: bool, manager: PackageManager
) -> None:
    lines = manager.query_lines(refresh=True, lock_timeout=timedelta())
    script = f"release={quote(release)} out={quote(facts)} privileged=0\n{IS_IMAGE}\n{lines}"
    stub = 'set -f\npart() { echo "part $1"; out=; }\n'
    done = subprocess.run(["sh", "-c", stub + script], capture_output=True, check=True)
    asked = done.stdout.decode().split("\n")
    assert ("part refresh" not in asked) == image
    assert "part installed" in asked
    ids = parse_os_release(release)
    found = parse_immutable(Part(0, facts, ""), ids, container=False)
    assert (found is not None and found.image) == image


def with_facts(recording: str, facts: str) -> bytes:
    part = f"\n\x1etendhost immutable stderr\n\n\x1etendhost immutable 0\n{facts.rstrip()}".encode()
    booted = recorded(recording).replace(b"container-other", b"none")
    before, mark, after = booted.partition(b"\n\x1etendhost disk stderr")
    assert mark
    return before + part + mark + after


def queried(recording: str, facts: str) -> QueryResult:
    return parse_query(with_facts(recording, facts), at=ASKED_AT)


def checked(recording: str, facts: str) -> Preflight:
    return parse_preflight(with_facts(recording, facts))


@pytest.mark.parametrize("recording", ["fedora40-dnf4/query", "fedora40-dnf4/query-absent"])
def test_a_query_of_an_image_tells_it_and_what_is_installed_and_that_the_rest_is_unknown(
    recording: str,
) -> None:
    result = queried(recording, f"ostree\ntool rpm-ostree\n{SEALED}")
    assert result.problems == ()
    assert result.pending == Pending()
    assert "pending" not in result.inventory.sources
    assert "tb-simple" in dict(result.inventory.installed)
    system = result.inventory.system
    assert system.package_manager == ""
    words = "the system is an image (ostree); instead: rpm-ostree upgrade, then reboot"
    assert f"packages cannot be updated: {words}" in system.concluded
    assert f"pending updates: {words}" in result.inventory.missing
    assert result.reboot.need is RebootNeed.UNKNOWN


def test_a_staged_image_needs_a_reboot() -> None:
    reboot = queried("fedora40-dnf4/query", "ostree\nstaged\ntool bootc\n").reboot
    assert (reboot.need, reboot.reason) == (
        RebootNeed.NEEDED,
        "a new image of the system is staged",
    )


def test_an_image_whose_package_manager_only_says_what_to_use_instead_is_queried() -> None:
    output = with_facts("fedora40-dnf4/query", "ostree\ntool rpm-ostree\n")
    head, mark, rest = output.partition(b"\n\x1etendhost updates 100\n")
    assert mark
    tail = rest[rest.index(b"\n\x1etendhost") :]
    result = parse_query(
        head + mark + b"ERROR: use rpm-ostree instead of dnf here" + tail, at=ASKED_AT
    )
    assert result.problems == ()
    assert result.pending == Pending()


def test_a_system_without_a_package_manager_that_is_an_image_is_no_problem() -> None:
    result = queried("debian12/query-no-apt", "ostree\n")
    assert (result.manager, result.problems, result.pending) == (None, (), Pending())
    (problem,) = checked("debian12/preflight-no-apt", "ostree\n").problems
    assert isinstance(problem, ImmutableSystem)


def test_a_system_of_snapshots_lists_what_is_pending() -> None:
    result = queried("opensuse-leap15.6/query", f"tool transactional-update\n{SEALED}")
    assert result.pending.count == 9
    assert any("transactional-update, then reboot" in words for words in result.facts.concluded)


@pytest.mark.parametrize(
    ("recording", "facts"),
    [
        ("fedora40-dnf4/preflight", "ostree\ntool bootc\n"),
        ("fedora40-dnf4/preflight-interrupted", "ostree\ntool bootc\n"),
        ("fedora40-dnf4/preflight-locked", SEALED),
        ("fedora42-dnf5/preflight", "mount / rw tmpfs\noption boot=live\n"),
        ("opensuse-leap15.6/preflight", f"tool transactional-update\n{SEALED}"),
        ("opensuse-leap15.6/preflight-interrupted", f"tool transactional-update\n{SEALED}"),
        ("debian12/preflight", f"{ROOT}mount /usr ro ext4\n"),
        ("debian12/preflight-interrupted", SEALED),
        ("ubuntu24.04/preflight", f"{ROOT}option overlayroot=tmpfs\n"),
    ],
)
def test_a_preflight_refuses_every_one_of_them_before_anything_is_repaired(
    recording: str, facts: str
) -> None:
    (problem,) = checked(recording, facts.replace("option", "tool x\noption")).problems
    assert isinstance(problem, ImmutableSystem)
    error = host_error("web1", problem)
    assert type(error) is host_errors.SystemImmutable
    assert error.reason == "SYSTEM_IMMUTABLE"
    assert not error.transient
    assert not error.needs_person
    assert problem.instead in str(error)


def test_a_user_without_root_is_told_beside_it() -> None:
    problems = checked("debian12/preflight-unprivileged", SEALED).problems
    assert isinstance(problems[0], ImmutableSystem)
    assert isinstance(problems[1], NotPrivileged)
