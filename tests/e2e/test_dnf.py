"""The whole way on real hosts with dnf: real rpm databases, repositories, advisories, reboots and interruptions."""

import asyncio

import pytest

from tendhost.v1 import host_pb2, operation_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.e2e.rpm_packages import Rpm, add_repository, build
from tests.fleet import Fleet, Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
Scope = host_pb2.ScopeOverride


def versions(host: Host) -> dict[str, str]:
    rows = host.output("rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\n' | sort").splitlines()
    return dict(row.split(" ") for row in rows if row.startswith(("tb-", "linux-", "kernel")))


def steps(operation: operation_pb2.Operation) -> list[str]:
    names = (operation_pb2.StepName.Name(step.name) for step in operation.steps)
    return [name.removeprefix("STEP_NAME_").lower() for name in names]


def configure_everything(host: Host) -> None:
    """Set each setting of dnf.conf(5) that tendhost gives on its command lines to something else."""
    lines = "color=always\ndebuglevel=0\nerrorlevel=0\nassumeno=True\n"
    host.run(f"cat >>/etc/dnf/dnf.conf <<'X'\n{lines}X", check=True)


async def registered(server: Daemon, fleet: Fleet, **config) -> None:
    for host in fleet.hosts:
        await server.register(host.name, host.address, **config)


@pytest.mark.parametrize("user", ["root", "ops"])
async def test_query_tells_versions_advisories_locks_and_what_is_not_known(
    make_fleet, tmp_path, user
):
    fleet = make_fleet(HostSpec(name="d1", family="dnf"))
    configure_everything(fleet["d1"])
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet, user=user)
        operation = await server.query("d1")
        assert operation.status == SUCCEEDED, operation
        inventory = await server.inventory("d1")
        status = (await server.host("d1")).status
    assert inventory.system.package_manager == "dnf"
    assert "os-release names fedora, and dnf is there" in inventory.system.concluded[0]
    pending = {package.name: package for package in inventory.pending_updates}
    secure = pending["tb-secure"]
    assert (secure.from_version, secure.to_version) == ("1.0-1", "1.0-2")
    assert secure.security
    assert secure.advisories[0].id == "FLEET-2024-2001"
    assert secure.advisories[0].severity == host_pb2.SEVERITY_IMPORTANT
    assert list(secure.advisories[0].cves) == ["CVE-2024-20001", "CVE-2024-20002"]
    assert pending["tb-simple"].HasField("security")
    assert not pending["tb-simple"].security
    assert pending["tb-held"].withheld == host_pb2.WITHHELD_HELD
    assert status.pending_updates == sum(1 for p in pending.values() if not p.withheld)
    assert status.pending_security_updates == 1
    assert status.reboot.need == host_pb2.REBOOT_NEED_NOT_NEEDED
    truth = fleet["d1"].output("rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\n'").splitlines()
    assert sorted(f"{p.name} {p.version}" for p in inventory.packages) == sorted(truth)
    assert inventory.outdated_services_known
    assert list(inventory.outdated_services) == []


async def test_update_upgrades_reboots_for_its_core_libraries_and_keeps_the_config(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="d1", family="dnf"))
    configure_everything(fleet["d1"])
    host = fleet["d1"]
    host.run("echo local=yes >>/etc/tb-conf.conf", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        tried = await server.update("d1", dry_run=True)
        assert versions(host)["tb-simple"] == "1.0-1"
        done = await server.update("d1")
        assert done.status == SUCCEEDED, done
        events = await server.all_events()
        status = (await server.host("d1")).status
        log = await server.log_of(done.id)
    changed = {change.name: change.to_version for change in done.update.packages}
    assert changed["tb-simple"] == "2.0-1"
    assert changed["tb-extra"] == "2.0-1"
    assert changed["kernel-core"] == "6.9.7-200"
    assert {c.name for c in tried.update.packages} == changed.keys()
    assert tried.update.download_bytes > 10_000
    assert versions(host)["tb-held"] == "1.0-1"
    assert done.update.rebooted
    assert host.boot_count == 2
    assert list(done.update.kept_conffiles) == ["/etc/tb-conf.conf"]
    assert b"dnf history: transaction 2" in log
    progress = [e.update_progress for e in events if e.HasField("update_progress")]
    assert "unpack" in {p.phase for p in progress}
    assert status.state == host_pb2.HOST_STATE_IDLE
    assert status.reboot.need == host_pb2.REBOOT_NEED_NOT_NEEDED
    assert host.transactions().count("tb-simple 2.0-1") == 1


async def test_only_security_updates_and_exactly_the_plan(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="d1", family="dnf", packages=("tb-simple", "tb-secure")))
    host = fleet["d1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        scope = Scope(security_only=True)
        tried = await server.update("d1", dry_run=True, scope=scope)
        done = await server.update("d1", plan_operation_id=tried.id, exact=True)
        assert done.status == SUCCEEDED, done
        assert versions(host) == {"tb-secure": "1.0-2", "tb-simple": "1.0-1"}
        tried = await server.update("d1", dry_run=True)
        fleet.publish("v3")
        refused = await server.update("d1", plan_operation_id=tried.id, exact=True)
        assert refused.problem.reason == "PLAN_CHANGED"
        assert versions(host)["tb-simple"] == "1.0-1"


async def test_a_script_that_fails_is_a_failure_although_dnf_ends_with_0(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="d1", family="dnf", packages=("tb-simple", "tb-badpost")))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        done = await server.update("d1")
        state = (await server.host("d1")).status.state
    assert done.status == FAILED
    assert "tb-badpost: post-install script failed (exit status 1)" in done.problem.message
    assert "cannot migrate database" in done.problem.message
    assert state == host_pb2.HOST_STATE_FAILED
    assert {c.name for c in done.update.packages} == {"tb-simple", "tb-badpost"}


async def test_a_killed_dnf_is_repaired_and_the_update_goes_on(make_fleet, tmp_path):
    packages = ("tb-simple", "tb-slow", "tb-conf")
    fleet = make_fleet(HostSpec(name="d1", family="dnf", packages=packages))
    host = fleet["d1"]
    host.run("echo 60 >/etc/tb-slow-seconds", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet)
        begun = await server.start_update("d1")
        async with asyncio.timeout(60):
            while host.run("test -e /run/tb-slow-running").returncode:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        host.run("echo 0 >/etc/tb-slow-seconds; pkill -9 -x dnf; pkill -x sleep", check=False)
        done = await server.ended(begun.id)
        assert done.status == SUCCEEDED, done
        status = (await server.host("d1")).status
    assert "apply" in steps(done)
    assert operation_pb2.STEP_STATUS_INTERRUPTED in [step.status for step in done.steps]
    assert set(versions(host).values()) == {"2.0-1"}
    assert host.run("dnf -q -C check --duplicates").returncode == 0
    assert status.state == host_pb2.HOST_STATE_IDLE


async def test_an_update_that_leaves_the_host_unhealthy_is_taken_back(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="d1", family="dnf", packages=("tb-simple", "tb-newdep")))
    host = fleet["d1"]
    before = versions(host)
    unit = "[Service]\\nExecStart=/bin/grep -q 1.0-1 /usr/share/tb-simple/1.0-1\\nType=oneshot\\n"
    host.run(f"printf '{unit}' >/etc/systemd/system/app.service; systemctl daemon-reload")
    watch = (
        "[Path]\\nPathChanged=/usr/share/tb-simple\\nUnit=app.service\\n"
        "[Install]\\nWantedBy=multi-user.target\\n"
    )
    host.run(f"printf '{watch}' >/etc/systemd/system/app.path; systemctl start app.path")
    config = tmp_path / "tendhostd.toml"
    config.write_text("verify_timeout = 2\n")
    policy = host_pb2.Policy(rollback=host_pb2.ROLLBACK_UNHEALTHY)
    async with daemon(
        tmp_path / "state", key=fleet.private_key, options=("--config", str(config))
    ) as server:
        await registered(server, fleet, policy=policy)
        done = await server.update("d1")
    assert done.problem.reason == "UNHEALTHY", done
    assert steps(done)[-1] == "rollback"
    assert done.update.rolled_back, done.steps[-1]
    assert versions(host) == before


@pytest.mark.parametrize(
    ("offer", "reason"),
    [("absent", "REFRESH_FAILED"), ("untrusted", "ARCHIVE_UNTRUSTED")],
)
async def test_a_repository_that_cannot_be_used_stops_the_update(
    make_fleet, tmp_path, offer, reason
):
    fleet = make_fleet(HostSpec(name="d1", family="dnf", packages=("tb-simple",)))
    host = fleet["d1"]
    config = tmp_path / "tendhostd.toml"
    config.write_text("attempts = 1\n")
    async with daemon(
        tmp_path / "state", key=fleet.private_key, options=("--config", str(config))
    ) as server:
        await registered(server, fleet)
        host.publish(offer)
        done = await server.update("d1")
        assert done.problem.reason == reason, done
        assert versions(host)["tb-simple"] == "1.0-1"


INSTALLONLY = "Provides: installonlypkg(kernel)"
SHARED = "/usr/share/shared"


def kernel(version: str) -> Rpm:
    return Rpm(name="own-kernel", version=version, tags=INSTALLONLY)


async def test_an_exact_update_replaces_packages_of_other_names_and_the_oldest_kernel(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="d1", family="dnf", packages=()))
    host = fleet["d1"]
    conf = Rpm(name="conf", version="1.0-1", files=("%config /etc/own.conf",))
    former = ("6.8.9-1", "6.8.10-1", "6.8.11-1")
    build(host, "/srv/old", Rpm(name="oldname", version="1.0-1"), conf, *map(kernel, former))
    host.run("dnf -y -q --disablerepo=fleet install /srv/old/*.rpm", check=True)
    host.run("echo local >>/etc/own.conf", check=True)
    obsoleting = Rpm(name="newname", version="2.0-1", tags="Obsoletes: oldname < 2.0")
    build(
        host,
        "/srv/new",
        obsoleting,
        Rpm(name="conf", version="2.0-1", files=conf.files),
        kernel("6.9.1-1"),
    )
    add_repository(host, "own", "file:///srv/new")
    policy = host_pb2.Policy(auto_reboot=False)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await registered(server, fleet, policy=policy)
        tried = await server.update("d1", dry_run=True)
        assert tried.status == SUCCEEDED, tried
        pending = {p.name: p for p in (await server.inventory("d1")).pending_updates}
        done = await server.update("d1", plan_operation_id=tried.id, exact=True)
    assert done.status == SUCCEEDED, done
    assert list(pending["newname"].replaces) == ["oldname"]
    assert not pending["newname"].from_version
    assert pending["own-kernel"].from_version == "6.8.11-1"
    changes = sorted((c.name, c.from_version, c.to_version) for c in done.update.packages)
    assert changes == [
        ("conf", "1.0-1", "2.0-1"),
        ("newname", "", "2.0-1"),
        ("oldname", "1.0-1", ""),
        ("own-kernel", "", "6.9.1-1"),
        ("own-kernel", "6.8.9-1", ""),
    ]
    assert list(done.update.saved_conffiles) == ["/etc/own.conf.rpmsave"]
    assert host.output("cat /etc/own.conf.rpmsave").endswith("local")


FORBIDDEN = """
import http.server
class Forbidden(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(403)
http.server.HTTPServer(("127.0.0.1", 8403), Forbidden).serve_forever()
"""


async def test_a_failed_update_gives_its_cause(make_fleet, tmp_path):
    names = ("conflict", "unsigned", "forbidden")
    fleet = make_fleet(*(HostSpec(name=name, family="dnf", packages=()) for name in names))
    app, other = (Rpm(name=name, version="1.0-1") for name in ("app", "other"))
    for name in ("conflict", "unsigned"):
        host = fleet[name]
        build(host, "/srv/old", app, Rpm(name="other", version="1.0-1", files=(SHARED,)))
        host.run("dnf -y -q --disablerepo=fleet install /srv/old/*.rpm", check=True)
        build(host, "/srv/new", Rpm(name=app.name, version="2.0-1", files=(SHARED,)))
    add_repository(fleet["conflict"], "own", "file:///srv/new")
    key = "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-fleet"
    add_repository(fleet["unsigned"], "own", "file:///srv/new", "gpgcheck=1", key)
    host = fleet["forbidden"]
    host.run("cat >/srv/forbidden.py", input=FORBIDDEN, check=True)
    host.run("systemd-run --quiet python3 /srv/forbidden.py", check=True)
    add_repository(host, "own", "http://127.0.0.1:8403/x")
    config = tmp_path / "tendhostd.toml"
    config.write_text("attempts = 1\n")
    causes = {
        "conflict": (
            f"file {SHARED} from install of app-2.0-1.noarch conflicts with file from package"
            f" {other.name}-1.0-1.noarch"
        ),
        "unsigned": "Package app-2.0-1.noarch.rpm is not signed",
        "forbidden": "Status code: 403 for http://127.0.0.1:8403/x/repodata/repomd.xml",
    }
    async with daemon(
        tmp_path / "state", key=fleet.private_key, options=("--config", str(config))
    ) as server:
        await registered(server, fleet)
        ended = await asyncio.gather(*(server.update(name) for name in names))
    for name, operation in zip(names, ended, strict=True):
        assert operation.status == FAILED
        assert causes[name] in operation.problem.message, operation.problem
    assert ended[-1].problem.reason == "REFRESH_FAILED"
