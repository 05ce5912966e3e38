"""PgBouncer in transaction mode between stores and their database: each transaction may be on another connection."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tendhost.server.domain.hosts.selection import HostFilter
from tendhost.server.store.postgres.store import open_postgres
from tendhost.server.store.records import Conflict
from tests.cluster.programs import program, unprivileged_user
from tests.cluster.single import Server
from tests.contract.store.samples import a_host, an_inventory, change, every_host
from tests.tools import needs

pytestmark = needs("psql", "pgbouncer")

LONG = timedelta(seconds=30)
START_SECONDS = 30
CONFIGURATION = """
[databases]
* = host={folder} port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
server_reset_query =
logfile = {folder}/pgbouncer.log
"""


@pytest.fixture
def pooled(server: Server, address: str) -> Iterator[str]:
    """The address of a database behind a PgBouncer with two connections to it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    file = server.folder / f"pgbouncer-{port}.ini"
    file.write_text(CONFIGURATION.format(folder=server.folder, server=server.port, port=port))
    process = subprocess.Popen(
        [program("pgbouncer"), str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=unprivileged_user(),
    )
    try:
        end = time.monotonic() + START_SECONDS
        while not listens(port):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        yield address.replace(f":{server.port}/", f":{port}/")
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_stores__work_behind_a_pooler_with_fewer_connections_than_they_have(pooled: str):
    stores = [await open_postgres(pooled) for _ in range(3)]

    async def write(number: int) -> None:
        store = stores[number % 3]
        for each in range(5):
            name = f"h{number}-{each}"
            await store.commit(change(hosts=(a_host(name),), inventories=(an_inventory(name),)))
            assert (await store.inventory(name)).host == name
            with pytest.raises(Conflict):
                await store.commit(change(removed_hosts=(a_host(name),)))

    await asyncio.gather(*(write(number) for number in range(9)))
    for store in stores:
        assert await store.wait_beyond(44, timeout=LONG) == 45
        assert len(await every_host(store)) == 45
        page = await store.hosts(HostFilter(groups=("berlin",)), limit=10)
        assert [host.name for host in page.items] == sorted(
            f"h{number}-{each}" for number in range(9) for each in range(5)
        )[:10]
        assert len(await store.survey(list)) == 45
        await store.aclose()
