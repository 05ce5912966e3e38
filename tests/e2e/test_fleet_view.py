"""Questions about a fleet of several families: which fixes are missing where, and what the hosts are."""

import grpc
import pytest

from tendhost.v1 import host_pb2
from tendhost.v1 import host_service_pb2 as pb
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

PACKAGES = ("tb-simple", "tb-secure")


async def pending(server: Daemon, **query) -> list[pb.PendingEntry]:
    """Every entry, asked for page by page."""
    entries: list[pb.PendingEntry] = []
    token = ""
    while True:
        request = pb.ListPendingUpdatesRequest(**query, page_size=1, page_token=token)
        page = await server.hosts.ListPendingUpdates(request)
        assert len(page.entries) <= 1
        entries += page.entries
        token = page.next_page_token
        if not token:
            return entries


async def test_which_hosts_lack_which_fix_over_three_families(make_fleet, tmp_path):
    fleet = make_fleet(
        HostSpec(name="web1", packages=PACKAGES),
        HostSpec(name="d1", family="dnf", packages=PACKAGES),
        HostSpec(name="d2", family="dnf", packages=PACKAGES),
        HostSpec(name="z1", family="zypper", packages=PACKAGES),
    )
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        for host in fleet.hosts:
            await server.register(host.name, host.address, tags=["all"])
        unknown = await server.hosts.ListPendingUpdates(pb.ListPendingUpdatesRequest())
        assert (len(unknown.entries), unknown.hosts_unknown) == (0, 4)
        for host in fleet.hosts:
            await server.query(host.name)
        security = await pending(server, security_only=True)
        assert [(e.name, e.version, list(e.hosts)) for e in security] == [
            ("tb-secure", "1.0-2", ["d1", "d2", "z1"]),
            ("tb-secure", "1.0-1+deb12u1", ["web1"]),
        ]
        assert security[0].severity == host_pb2.SEVERITY_IMPORTANT
        lacking = await pending(server, group_by=pb.PENDING_GROUPING_HOST, fixes=["CVE-2024-20002"])
        assert [entry.name for entry in lacking] == ["d1", "d2", "z1"]
        await server.update("d1")
        (advisory,) = await pending(
            server, group_by=pb.PENDING_GROUPING_ADVISORY, fixes=["CVE-2024-20002"]
        )
        assert (advisory.name, list(advisory.hosts)) == ("FLEET-2024-2001", ["d2", "z1"])


async def test_inventory_comes_from_osquery_where_the_host_has_it(make_fleet, tmp_path):
    fleet = make_fleet(
        HostSpec(name="o1", osquery=True, packages=PACKAGES),
        HostSpec(name="o2", osquery=True, family="dnf", packages=PACKAGES),
        HostSpec(name="n1", packages=PACKAGES),
    )
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        for host in fleet.hosts:
            await server.register(host.name, host.address)
            await server.query(host.name)
        found = {host.name: await server.inventory(host.name) for host in fleet.hosts}
        for name in ("o1", "o2"):
            assert found[name].sources["packages"] == "osquery stand-in"
            assert found[name].sources["hardware"] == "osquery stand-in"
            assert found[name].sources["pending"] == "native"
        assert found["n1"].sources["packages"] == "native"
        truth = fleet["o1"].output("dpkg-query -W -f '${Package} ${Version}\n'").splitlines()
        assert [f"{p.name} {p.version}" for p in found["o1"].packages] == sorted(truth)
        assert found["o1"].hardware.threads == found["n1"].hardware.threads > 0
        for name, host in ((host.name, host) for host in fleet.hosts):
            (address,) = [a for i in found[name].interfaces for a in i.addresses if "10." in a]
            assert address == host.address
            assert any(mount.path == "/" for mount in found[name].mounts)
        # An update tells what it changed, whichever collector listed what was there before.
        done = await server.update("o1")
        assert {change.name for change in done.update.packages} == set(PACKAGES)
        rows = await server.hosts.RunOsquery(
            pb.RunOsqueryRequest(
                name="o1", sql="select version from deb_packages where name = 'tb-simple'"
            )
        )
        assert [dict(row.values) for row in rows.rows] == [{"version": "2.0-1"}]
        for name, sql, code in (
            ("o1", "delete from deb_packages", grpc.StatusCode.INVALID_ARGUMENT),
            ("o1", "select * from nosuch", grpc.StatusCode.FAILED_PRECONDITION),
            ("n1", "select 1", grpc.StatusCode.FAILED_PRECONDITION),
            ("nosuch", "select 1", grpc.StatusCode.NOT_FOUND),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await server.hosts.RunOsquery(pb.RunOsqueryRequest(name=name, sql=sql))
            assert refused.value.code() == code


async def test_parts_are_asked_for_alone_and_the_rest_stays_as_it_was_known(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=PACKAGES))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", fleet["web1"].address)
        await server.query("web1")
        before = await server.inventory("web1")
        fleet["web1"].run("hostname other", check=True)
        fleet.publish("v3")
        request = pb.StartQueryRequest(name="web1", parts=[host_pb2.INVENTORY_PART_HARDWARE])
        await server.ended((await server.hosts.StartQuery(request)).operation.id)
        after = await server.inventory("web1")
    assert after.hardware.hostname == "other"
    assert after.packages == before.packages
    assert after.pending_updates == before.pending_updates
    assert after.mounts == before.mounts


async def test_foreign_language_does_not_change_what_is_understood(make_fleet, tmp_path):
    fleet = make_fleet(
        HostSpec(name="web1", packages=PACKAGES),
        HostSpec(name="d1", family="dnf", packages=PACKAGES),
    )
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        for host in fleet.hosts:
            host.run(
                "echo LANG=de_DE.UTF-8 >>/etc/environment; echo LC_ALL=de_DE.UTF-8 >>/etc/environment"
            )
            await server.register(host.name, host.address)
            done = await server.update(host.name)
            assert done.update.success, done
            assert {change.name for change in done.update.packages} == set(PACKAGES)
