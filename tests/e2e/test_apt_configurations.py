"""Hosts whose apt is configured in unusual ways: settings, pins, and archives without a security suite."""

import pytest

from tendhost.server.packages.apt.settings import SETTINGS
from tendhost.v1 import host_pb2, operation_pb2
from tests.e2e.daemon import daemon
from tests.fleet import Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
OTHER = {
    "quiet": "2",
    "APT::Output-Version": "30",
    "APT::Status-Fd": "1",
    "APT::Status-deb822-Fd": "1",
}
FLIPPED = {"0": "true", "1": "false"}


def configure_everything(host: Host) -> None:
    """Set each setting that tendhost gives on its command lines to something else."""
    lines = [
        f'{name} "{OTHER.get(name, FLIPPED.get(value, ""))}";\n' for name, value in SETTINGS.items()
    ]
    host.run(f"cat >/etc/apt/apt.conf.d/99odd <<'X'\n{''.join(lines)}X", check=True)


def pin(host: Host) -> None:
    """Ask for an older tb-simple, and keep the security update of tb-secure out."""
    host.run(
        "sed -i '/^Package: tb-simple$/,/^$/s/^Version: .*/Version: 9.0-1/' /var/lib/dpkg/status\n"
        "cat >/etc/apt/preferences.d/odd <<'X'\n"
        "Package: tb-simple\nPin: version 2.0-1\nPin-Priority: 1001\n\n"
        "Package: tb-secure\nPin: release l=Debian-Security\nPin-Priority: -1\nX",
        check=True,
    )


def versions(host: Host) -> dict[str, str]:
    lines = host.output("dpkg-query -W -f '${Package} ${Version}\n' 'tb-*'").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def withheld(packages) -> dict[str, tuple[str, bool]]:
    return {
        p.name: (host_pb2.Withheld.Name(p.withheld).removeprefix("WITHHELD_"), p.security)
        for p in packages
        if p.withheld
    }


LEFT = {
    "tb-held": ("HELD", False),
    "tb-conflict": ("KEPT_BACK", False),
    "tb-phased": ("PHASED", False),
}


async def test_update__is_the_same_whatever_the_host_sets(make_fleet, tmp_path):
    plain, odd = HostSpec(name="plain"), HostSpec(name="odd")
    fleet = make_fleet(plain, odd, HostSpec(name="pins"), HostSpec(name="bare"))
    configure_everything(fleet["odd"])
    pin(fleet["pins"])
    fleet["bare"].run("sed -i '/security/d' /etc/apt/sources.list", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        for host in fleet.hosts:
            await server.register(host.name, host.address)
            operation = await server.query(host.name)
            assert operation.status == SUCCEEDED, operation
        pending = {h.name: await server.inventory(h.name) for h in fleet.hosts}
        bare = await server.host("bare")
        results = {h.name: await server.update(h.name) for h in fleet.hosts if h.name != "bare"}
        after = await server.inventory("pins")
    assert list(pending["odd"].pending_updates) == list(pending["plain"].pending_updates)
    assert withheld(pending["plain"].pending_updates) == LEFT
    # No archive of the host tells what is a security update.
    assert not bare.status.HasField("pending_security_updates")
    assert not any(p.HasField("security") for p in pending["bare"].pending_updates)
    assert any("archives do not tell" in line for line in pending["bare"].missing)
    for name in ("plain", "odd", "pins"):
        assert results[name].status == SUCCEEDED, results[name]
    assert versions(fleet["odd"]) == versions(fleet["plain"])
    assert versions(fleet["plain"])["tb-simple"] == "2.0-1"
    pinned = versions(fleet["pins"])
    assert pinned == {**versions(fleet["plain"]), "tb-simple": "9.0-1", "tb-secure": "1.0-1"}
    expected = {**LEFT, "tb-simple": ("DOWNGRADE", False), "tb-secure": ("PINNED", True)}
    assert withheld(results["pins"].update.withheld) == expected
    assert withheld(after.pending_updates) == expected
