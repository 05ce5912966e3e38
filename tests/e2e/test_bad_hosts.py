"""Hosts in bad circumstances: each says in plain words what is wrong, and nothing on it is changed."""

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tendhost.v1 import host_pb2, host_service_pb2, operation_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
ONCE = "attempts = 1\n"


async def registered(server: Daemon, fleet: Fleet, **config) -> None:
    for host in fleet.hosts:
        await server.register(host.name, host.address, **config)


def state_of(host: Host) -> str:
    """Everything that a change of packages would leave its mark on."""
    listing = "dpkg-query -W; dpkg --audit" if host.family == "debian" else "rpm -qa | sort"
    return host.output(f"{listing}; cat /var/log/tb-transactions 2>/dev/null || true")


def last_step(operation: operation_pb2.Operation) -> str:
    name = operation_pb2.StepName.Name(operation.steps[-1].name)
    return name.removeprefix("STEP_NAME_").lower()


async def pending_unknown(server: Daemon) -> int:
    request = host_service_pb2.ListPendingUpdatesRequest()
    return (await server.hosts.ListPendingUpdates(request)).hosts_unknown


# --- what is not there ----------------------------------------------------------------------------


async def test_host_without_python_and_perl_is_queried_and_updated(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    host.run("rm -f /usr/bin/perl* /usr/bin/python*", check=True)
    assert host.run("command -v python3 || command -v python || command -v perl").returncode != 0
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        asked = await server.query("web1")
        assert asked.status == SUCCEEDED, asked
        done = await server.update("web1")
    assert done.status == SUCCEEDED, done
    assert [change.name for change in done.update.packages] == ["tb-simple"]


@pytest.mark.parametrize("family", ["debian", "dnf"])
async def test_user_on_a_host_without_sudo_is_told_so_and_still_sees_what_needs_no_root(
    make_fleet, tmp_path, family
):
    fleet = make_fleet(HostSpec(name="web1", family=family, packages=("tb-simple",)))
    host = fleet["web1"]
    host.run("rm /usr/bin/sudo", check=True)
    before = state_of(host)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet, user="ops")
        asked = await server.query("web1")
        inventory = await server.inventory("web1")
        changes = [await server.update("web1"), await server.reboot("web1")]
        status = (await server.host("web1")).status
    for operation in (asked, *changes):
        assert operation.status == FAILED
        assert operation.problem.reason == "PRIVILEGE_MISSING", operation
        assert "sudo" in operation.problem.message
        assert "not found" in operation.problem.message
    assert {package.name for package in inventory.packages} >= {"tb-simple"}
    assert not status.HasField("failure")
    if family == "debian":
        # Nobody ever fetched its lists, so that it waits for nothing is not known.
        assert not status.HasField("queried_at")
    assert state_of(host) == before
    assert host.boot_count == 1


NO_MANAGER = (
    "rm -f /usr/bin/apt /usr/bin/apt-* /usr/bin/dpkg /usr/bin/dpkg-*;"
    " printf 'ID=arch\\nPRETTY_NAME=\"Arch Linux\"\\n' >/etc/os-release"
)


async def test_host_with_a_package_manager_that_is_not_known_is_shown_and_never_updated(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=()))
    host = fleet["web1"]
    host.run(NO_MANAGER, check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        asked = await server.query("web1")
        refused = await server.update("web1")
        inventory = await server.inventory("web1")
        status = (await server.host("web1")).status
        unknown = await pending_unknown(server)
    for operation in (asked, refused):
        assert operation.problem.reason == "PACKAGE_MANAGER_MISSING", operation
        assert "Arch Linux" in operation.problem.message
    assert inventory.system.os_name == "Arch Linux"
    assert inventory.hardware.threads > 0
    assert any(m.startswith("packages: no supported package manager") for m in inventory.missing)
    assert not status.HasField("queried_at")
    assert unknown == 1
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert host.run("test ! -e /var/lib/tendhost").returncode == 0


# --- what cannot be written -----------------------------------------------------------------------


@pytest.mark.parametrize("family", ["debian", "dnf"])
async def test_host_whose_root_is_read_only_says_so(make_fleet, tmp_path, family):
    # Without systemd: its journal keeps the disk from being made read-only in passing.
    fleet = make_fleet(HostSpec(name="web1", family=family, init="tiny", packages=("tb-simple",)))
    host = fleet["web1"]
    config = tmp_path / "tendhostd.toml"
    config.write_text(ONCE)
    async with daemon(
        tmp_path / "state", key=fleet.private_key, options=("--config", str(config))
    ) as server:
        await registered(server, fleet)
        assert (await server.query("web1")).status == SUCCEEDED
        host.run("mount -o remount,bind,ro /", check=True)
        before = state_of(host)
        asked = await server.query("web1")
        refused = await server.update("web1")
        status = (await server.host("web1")).status
        inventory = await server.inventory("web1")
    for operation in (asked, refused):
        assert operation.status == FAILED
        assert "Read-only file system" in operation.problem.message, operation
    assert status.pending_updates == 1
    assert [package.name for package in inventory.pending_updates] == ["tb-simple"]
    assert state_of(host) == before


IMMUTABLE = {
    "d1": (
        "touch /run/ostree-booted; printf '#!/bin/sh\\n' >/usr/bin/bootc; chmod 755 /usr/bin/bootc",
        "bootc upgrade, then reboot",
    ),
    "z1": (
        "sed -i -e 's/^ID=.*/ID=\"opensuse-microos\"/' /usr/lib/os-release",
        "transactional-update, then reboot",
    ),
}


async def test_immutable_systems_are_shown_and_refused_with_what_to_use_instead(
    make_fleet, tmp_path
):
    packages = ("tb-simple",)
    fleet = make_fleet(
        HostSpec(name="d1", family="dnf", packages=packages),
        HostSpec(name="z1", family="zypper", packages=packages),
    )
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        for name, (change, instead) in IMMUTABLE.items():
            host = fleet[name]
            host.run(change, check=True)
            before = state_of(host)
            asked = await server.query(name)
            assert asked.status == SUCCEEDED, asked
            inventory = await server.inventory(name)
            assert any(instead in words for words in inventory.system.concluded), inventory.system
            assert "tb-simple" in {package.name for package in inventory.packages}
            for options in ({"dry_run": True}, {}):
                refused = await server.update(name, **options)
                assert refused.problem.reason == "SYSTEM_IMMUTABLE", refused
                assert instead in refused.problem.message
                assert last_step(refused) == "preflight"
            status = (await server.host(name)).status
            assert status.state != host_pb2.HOST_STATE_FAILED
            assert state_of(host) == before
        assert not (await server.host("d1")).status.HasField("queried_at")
        assert (await server.host("z1")).status.pending_updates == 1
        assert await pending_unknown(server) == 1


SMALL_BOOT = (
    "mount -t tmpfs -o size=3m boot /boot && head -c 2000000 /dev/zero >/boot/vmlinuz-$(uname -r)"
)


async def test_boot_without_room_for_a_pending_kernel_stops_the_update_before_it_begins(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="d1", family="dnf", packages=("tb-simple", "kernel")))
    host = fleet["d1"]
    host.run(SMALL_BOOT, check=True)
    before = state_of(host)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        refused = await server.update("d1")
        state = (await server.host("d1")).status.state
        assert refused.problem.reason == "DISK_FULL", refused
        assert "/boot has" in refused.problem.message
        assert last_step(refused) == "list"
        assert state_of(host) == before
        assert state == host_pb2.HOST_STATE_PENDING_UPDATES
        # What brings no kernel does not need the room.
        scope = host_pb2.ScopeOverride(include=["tb-simple"])
        done = await server.update("d1", scope=scope)
        assert done.status == SUCCEEDED, done
    assert [change.name for change in done.update.packages] == ["tb-simple"]


async def test_boot_without_room_is_told_of_by_apt_hosts_too(own_archive, tmp_path):
    fleet, archive = own_archive
    host = fleet["web1"]
    archive.publish(archive.release())
    host.run(SMALL_BOOT, check=True)
    before = state_of(host)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        refused = await server.update("web1")
        assert refused.problem.reason == "DISK_FULL", refused
        assert "/boot has" in refused.problem.message
        assert last_step(refused) == "list"
        assert state_of(host) == before
        host.run("umount /boot", check=True)
        done = await server.update("web1")
    assert done.status == SUCCEEDED, done
    assert {change.name for change in done.update.packages} == {"tb-simple", archive.package}


# --- archives that are not to be trusted ----------------------------------------------------------


class OwnArchive:
    """An archive of one package, linux-image-own, on the host's own disk, signed as a test wants it.

    The package is installed in version 1, and the archive offers 2.
    """

    folder = "/srv/own"
    package = "linux-image-own"

    def __init__(self, host: Host, home: Path) -> None:
        self._host = host
        self._home = home / "gnupg"
        self._home.mkdir(mode=0o700)
        self._gpg("--quick-generate-key", "<own@example.invalid>", "ed25519", "sign", "never")
        key = self._gpg("--armor", "--export")
        host.run("cat >/etc/apt/keyrings/own.asc", input=key, check=True)
        for version in (1, 2):
            self._build(version)
        host.run(f"dpkg -i {self.folder}/1.deb && rm {self.folder}/1.deb", check=True)
        stanza = host.output(
            f"cd {self.folder} && dpkg-deb -f 2.deb && echo Filename: ./2.deb"
            " && echo Size: $(stat -c %s 2.deb) && echo SHA256: $(sha256sum 2.deb | cut -d ' ' -f 1)"
        )
        self._write("Packages", f"{stanza}\n")
        self._index = f"{stanza}\n".encode()
        source = f"deb [signed-by=/etc/apt/keyrings/own.asc] file:{self.folder} ./"
        host.run(f"echo '{source}' >/etc/apt/sources.list.d/own.list", check=True)

    def release(self, *, valid_until: datetime | None = None) -> str:
        """The text of a Release file for what there is."""
        # Younger than any other, or apt keeps the one that it has.
        now = datetime.now(UTC)
        lines = ["Origin: Own", "Suite: stable", f"Date: {_rfc(now)}"]
        lines += [f"Valid-Until: {_rfc(valid_until)}"] if valid_until else []
        digest = hashlib.sha256(self._index).hexdigest()
        return "\n".join([*lines, "SHA256:", f" {digest} {len(self._index)} Packages", ""])

    def publish(self, release: str) -> None:
        """Offer it, signed."""
        self._write("InRelease", self._gpg("--clearsign", said=release))

    def publish_tampered(self, release: str) -> None:
        """Offer it with a signature that is not that of this text."""
        signed = self._gpg("--clearsign", said=release)
        self._write("InRelease", signed.replace("Origin: Own", "Origin: Debian"))

    def publish_unsigned(self, release: str) -> None:
        """Offer it without a signature."""
        self._host.run(f"rm -f {self.folder}/InRelease", check=True)
        self._write("Release", release)

    def _build(self, version: int) -> None:
        control = (
            f"Package: {self.package}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: Own <own@example.invalid>\nDescription: a kernel\n"
        )
        build = "mkdir -p /srv/own /tmp/own/DEBIAN && cat >/tmp/own/DEBIAN/control"
        pack = f"dpkg-deb --root-owner-group -b /tmp/own {self.folder}/{version}.deb"
        self._host.run(f"{build} && {pack} && rm -r /tmp/own", input=control, check=True)

    def _write(self, name: str, text: str) -> None:
        self._host.run(f"cat >{self.folder}/{name}", input=text, check=True)

    def _gpg(self, *words: str, said: str = "") -> str:
        command = ("gpg", "--homedir", str(self._home), "--batch", "--quiet")
        done = subprocess.run(
            [*command, "--pinentry-mode", "loopback", "--passphrase", "", *words],
            input=said,
            text=True,
            capture_output=True,
            check=True,
        )
        return done.stdout


def _rfc(moment: datetime) -> str:
    return f"{moment:%a, %d %b %Y %H:%M:%S} UTC"


@pytest.fixture
def own_archive(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    archive = OwnArchive(fleet["web1"], tmp_path)
    yield fleet, archive
    subprocess.run(["gpgconf", "--homedir", str(tmp_path / "gnupg"), "--kill", "all"], check=True)


@pytest.mark.parametrize("bad", ["expired", "tampered", "unsigned", "unknown key"])
async def test_archive_that_is_not_to_be_trusted_changes_nothing_and_what_is_known_stays(
    own_archive, tmp_path, bad
):
    fleet, archive = own_archive
    host = fleet["web1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        archive.publish(archive.release())
        assert (await server.query("web1")).status == SUCCEEDED
        before = state_of(host)
        match bad:
            case "expired":
                past = datetime.now(UTC) - timedelta(days=2)
                archive.publish(archive.release(valid_until=past))
                words = "is expired"
            case "tampered":
                archive.publish_tampered(archive.release())
                words = "The following signatures were invalid: BADSIG"
            case "unsigned":
                archive.publish_unsigned(archive.release())
                words = "is no longer signed"
            case _:
                host.publish("untrusted")
                words = "NO_PUBKEY"
        asked = await server.query("web1")
        refused = await server.update("web1")
        status = (await server.host("web1")).status
        inventory = await server.inventory("web1")
    for operation in (asked, refused):
        assert operation.status == FAILED
        assert operation.problem.reason == "ARCHIVE_UNTRUSTED", operation
        assert words in operation.problem.message
    assert state_of(host) == before
    assert {p.name for p in inventory.pending_updates} == {"tb-simple", archive.package}
    assert status.pending_updates == 2
    assert status.state == host_pb2.HOST_STATE_PENDING_UPDATES


@pytest.mark.parametrize("family", ["debian", "dnf", "zypper"])
@pytest.mark.parametrize("offer", ["untrusted", "absent", "broken"])
async def test_host_whose_archive_never_answered_well_has_unknown_updates_and_not_none(
    make_fleet, tmp_path, family, offer
):
    fleet = make_fleet(HostSpec(name="web1", family=family, packages=("tb-simple",)))
    host = fleet["web1"]
    host.publish(offer)
    config = tmp_path / "tendhostd.toml"
    config.write_text(ONCE)
    async with daemon(
        tmp_path / "state", key=fleet.private_key, options=("--config", str(config))
    ) as server:
        await registered(server, fleet)
        asked = await server.query("web1")
        inventory = await server.inventory("web1")
        status = (await server.host("web1")).status
        unknown = await pending_unknown(server)
    assert asked.status == FAILED, asked
    assert {package.name for package in inventory.packages} >= {"tb-simple"}
    assert not status.HasField("queried_at")
    assert unknown == 1
