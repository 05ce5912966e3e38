"""The cluster itself: it keeps what was committed, fails over, and leaves nothing behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.cluster import NODES, Cluster, ClusterError, cluster
from tests.cluster.keeping import gone
from tests.cluster.programs import nothing_started, program
from tests.fleet.processes import descendants

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


async def insert(up: Cluster, row: int, *, at: str | None = None) -> None:
    await up.sql(f"INSERT INTO kept VALUES ({row})", at=at)


async def rows(up: Cluster, *, at: str | None = None) -> list[int]:
    return [int(n) for n in (await up.sql("SELECT n FROM kept ORDER BY n", at=at)).split()]


async def backend_of_idle_client(up: Cluster) -> tuple[str, str]:
    """The server's process that an idle client of PgBouncer had, and the one that another client then gets."""
    idle = await asyncio.create_subprocess_exec(
        *(program("psql"), "-XqAt", "-d", up.addresses.pgbouncer),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PGPASSWORD": up.password},
    )
    assert idle.stdin is not None
    assert idle.stdout is not None
    idle.stdin.write(b"SELECT pg_backend_pid();\n")
    first = (await idle.stdout.readline()).decode().strip()
    second = await up.sql("SELECT pg_backend_pid()", at=up.addresses.pgbouncer)
    idle.stdin.close()
    await idle.wait()
    return first, second


@pytest.mark.slow
async def test_cluster__keeps_what_was_committed_when_its_primary_is_killed() -> None:
    async with cluster() as up:
        primary = await up.primary()
        assert primary is not None
        assert len(await up.synchronous()) == 1
        await up.sql("CREATE TABLE kept (n int)")
        for number, address in enumerate(
            (up.addresses.primary, up.addresses.pgbouncer, up.addresses.nodes)
        ):
            await insert(up, number, at=address)
        with pytest.raises(ClusterError, match="read-only"):
            await insert(up, 9, at=up.addresses.replicas)
        first, second = await backend_of_idle_client(up)
        assert first == second  # an idle client holds no connection: transaction mode
        await up.kill(primary)
        assert await up.promoted(instead_of=primary) in set(NODES) - {primary}
        assert await rows(up) == [0, 1, 2]
        await insert(up, 3, at=up.addresses.nodes)


@pytest.mark.long
async def test_every_fault__ends_with_all_rows_that_were_committed() -> None:
    async with cluster() as up:
        await up.sql("CREATE TABLE kept (n int)")
        await insert(up, 0)

        old = await up.whole()
        assert await up.failover() != old
        await insert(up, 1)

        old = await up.whole()
        await up.kill_postgresql(old)
        await up.promoted(instead_of=old)
        await insert(up, 2)

        old = await up.whole()
        async with up.stop_continue(old):
            await up.promoted(instead_of=old)
            await insert(up, 3)
        await up.whole()

        old = await up.whole()
        await up.cut(old, "silent")
        await up.promoted(instead_of=old)
        await insert(up, 4)
        await up.mend(old)
        await up.whole()

        old = await up.whole()
        await up.cut(old, "refused")
        await up.promoted(instead_of=old)
        await insert(up, 5)
        await up.mend(old)
        await up.whole()

        async with up.etcd_without_quorum():
            await up.until(lambda: no_writes(up), "a database without writes")
        await up.whole()
        await insert(up, 6)

        old = await up.whole()
        await up.kill(old)
        await up.promoted(instead_of=old)
        await up.restart(old)
        await up.whole()
        await up.restart(await up.whole())
        await up.whole()
        await insert(up, 7)

        await up.restart_pgbouncer()
        assert await rows(up, at=up.addresses.pgbouncer) == list(range(8))


def working_folder(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


async def no_writes(up: Cluster) -> bool:
    return await up.primary() is None


@pytest.mark.long
async def test_client_link__is_cut_for_one_client_alone() -> None:
    async with cluster() as up:
        link = await up.link()
        assert await up.sql("SELECT 1", at=link.address) == "1"
        await link.cut("silent")
        with pytest.raises(ClusterError, match=r"no answer|timeout"):
            await up.sql("SELECT 1", at=link.address, seconds=2)
        assert await up.sql("SELECT 1") == "1"
        await link.cut("refused")
        with pytest.raises(ClusterError, match="refused"):
            await up.sql("SELECT 1", at=link.address)
        await link.cut("slow", 0.2)
        assert await up.sql("SELECT 1", at=link.address) == "1"
        await link.mend()
        assert await up.sql("SELECT 1", at=link.address) == "1"


@pytest.mark.long
async def test_killed_runner__leaves_no_process_and_no_folder() -> None:
    runner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.cluster", "up"),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert runner.stdout is not None
    assert b"is up after" in await runner.stdout.readline()
    below = descendants(runner.pid)
    folders = {folder for folder in map(working_folder, below) if "-cluster-" in folder.name}
    assert len(below) > 10
    assert folders
    runner.send_signal(signal.SIGKILL)
    await runner.wait()
    await gone(below)
    assert not any(map(os.path.exists, folders))


def test_installation__starts_nothing_and_leaves_a_policy_as_it_is(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with nothing_started(policy):
        assert policy.stat().st_mode & 0o777 == 0o755
        assert "exit 101" in policy.read_text(encoding="ascii")
    assert not policy.exists()
    policy.write_text("another's", encoding="ascii")
    with nothing_started(policy):
        assert policy.read_text(encoding="ascii") == "another's"
    assert policy.exists()
