"""The fake host is held to what a real one prints, and to what the server understands of it."""

import subprocess
from collections.abc import Callable
from datetime import timedelta

import pytest

from tendhost.server.domain.inventory.inventory import RebootNeed, Withheld
from tendhost.server.packages.apt.commands import (
    kept_conffiles,
    parse_plan,
    plan_script,
    repair_command,
    upgrade_command,
)
from tendhost.server.packages.apt.failures import diagnose
from tendhost.server.packages.boot import boot_script, parse_boot
from tendhost.server.packages.failures import FailureKind
from tendhost.server.packages.login import login_script
from tendhost.server.packages.package_manager import Transaction
from tendhost.server.packages.query import (
    EVERYTHING,
    QueryOptions,
    parse_preflight,
    parse_query,
    preflight_script,
    query_script,
)
from tendhost.server.packages.reboot_order import reboot_command
from tendhost.server.packages.script import parse_parts
from tendhost.server.packages.units import parse_units, units_script
from tendhost.server.remote.job_scripts import REPORT
from tests.tools import needs
from tests.unit.engine import fake_answers
from tests.unit.engine.fake_clock import START, FakeClock
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import FakeHost, Pending
from tests.unit.engine.fake_jobs import job_kind_of
from tests.unit.engine.fake_remote import kind_of

NO_WAIT = timedelta(0)
QUERY = query_script(QueryOptions(parts=EVERYTHING))
PREFLIGHT = preflight_script(lock_timeout=NO_WAIT)
DRY_RUN = plan_script(Transaction())


@pytest.fixture
def host() -> FakeHost:
    return FakeHost(address="192.0.2.1", clock=FakeClock())


@needs("apt-get")
@pytest.mark.parametrize(
    ("script", "answer"),
    [
        (QUERY, lambda host: fake_answers.query(host, refresh=False)),
        (PREFLIGHT, fake_answers.preflight),
        (DRY_RUN, fake_answers.dry_run),
        (boot_script(), fake_answers.boot),
        (units_script(), fake_answers.units),
        (login_script(), fake_answers.login),
    ],
    ids=["query", "preflight", "dry_run", "boot", "units", "login"],
)
def test_the_fake_host_prints_the_parts_that_a_real_one_prints(
    host: FakeHost, script: str, answer: Callable[[FakeHost], bytes]
) -> None:
    real = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    # What depends on the machine: whether it has privilege, systemd, needrestart, updates, or
    # a kernel of its own.
    varying = {"policy", "check", "needrestart", "state", "failed", "docker", "containers"}
    varying |= {"images", "outdated", "kernel_owners"}
    fake_names = set(parse_parts(answer(host), expected=())) - varying
    assert fake_names == set(parse_parts(real, expected=())) - varying


def test_a_query_of_the_fake_host_is_understood(host: FakeHost) -> None:
    host.pending = {"web": Pending(security=True), "db": Pending(held=True)}
    host.reboot_required = True
    result = parse_query(fake_answers.query(host, refresh=True), at=START)
    assert result.problems == ()
    assert (result.pending.count, result.pending.security_count) == (1, 1)
    withheld = {p.name: p.withheld for p in result.pending.packages}
    assert withheld == {"web": Withheld.NO, "db": Withheld.HELD}
    assert result.reboot.need is RebootNeed.NEEDED
    assert dict(result.inventory.installed) == host.installed
    assert result.facts.system.boot_id == host.boot_id


def test_what_the_fake_host_can_suffer_from_is_understood(host: FakeHost) -> None:
    host.refresh_fails = True
    assert len(parse_query(fake_answers.query(host, refresh=True), at=START).problems) == 1
    assert parse_preflight(fake_answers.preflight(host)).problems == ()
    host.interrupted = True
    assert len(parse_preflight(fake_answers.preflight(host)).problems) == 1
    host.reboot_unreadable = True
    found = parse_query(fake_answers.query(host, refresh=False), at=START)
    assert found.reboot.need is RebootNeed.UNKNOWN
    host.failed_units = ["web.service"]
    assert parse_units(fake_answers.units(host)).failed == ("web.service",)
    host.privileged = False
    assert "sudo" in parse_preflight(fake_answers.preflight(host)).facts.sudo_message


def test_the_fake_hosts_boots_are_told_apart(host: FakeHost) -> None:
    first = parse_boot(fake_answers.boot(host))
    facts = parse_preflight(fake_answers.preflight(host)).facts
    assert (first.id, first.init_started) == (facts.system.boot_id, facts.init_started)
    host.reboot()
    assert parse_boot(fake_answers.boot(host)) != first
    assert not host.answers


def test_the_fake_hosts_dry_run_names_its_sizes(host: FakeHost) -> None:
    host.pending = {"web": Pending()}
    plan = parse_plan(fake_answers.dry_run(host))
    assert (plan.download_bytes, plan.disk_bytes) == (20_000_000, 40_000_000)
    assert [change.name for change in plan.changes] == ["web"]


def test_the_fake_hosts_upgrade_fails_in_the_words_of_a_real_one(host: FakeHost) -> None:
    host.pending = {"db": Pending(conffile_kept=True), "web": Pending(breaks=True)}
    status, _, words = host.upgrade()
    failure = diagnose(status, words)
    assert failure.kind is FailureKind.SCRIPT_FAILED
    assert "web: post-install script failed (exit 1): web: cannot migrate" in failure.reason
    assert kept_conffiles(words) == ("/etc/db.conf",)
    host.interrupted = True
    assert diagnose(*host.upgrade()[::2]).kind is FailureKind.INTERRUPTED


def test_every_command_of_the_server_is_known_to_the_fake_host() -> None:
    assert kind_of(query_script(QueryOptions(refresh=True))) is Command.QUERY
    assert kind_of(QUERY) is Command.QUERY
    assert kind_of(PREFLIGHT) is Command.PREFLIGHT
    assert kind_of(DRY_RUN) is Command.DRY_RUN
    assert kind_of(REPORT) is Command.JOB
    assert kind_of(reboot_command("a/1").change_script) is Command.REBOOT
    assert job_kind_of(upgrade_command(Transaction())) is Command.UPGRADE
    assert job_kind_of(repair_command()) is Command.REPAIR
    with pytest.raises(StopIteration):
        kind_of("true")
