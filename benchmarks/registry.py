"""Many registered hosts that a query has been to, written straight into a server's database."""

from datetime import UTC, datetime
from pathlib import Path

from benchmarks.endpoints import recorded_answer
from tendhost.server.domain.events import Event, HostRegistered
from tendhost.server.domain.hosts.host import Host, HostConfig
from tendhost.server.domain.hosts.states import Trigger
from tendhost.server.domain.inventory.inventory import Observation
from tendhost.server.main import DATABASE
from tendhost.server.packages.query import parse_query
from tendhost.server.store.protocols.commits import CommitStore
from tendhost.server.store.records import Change, InventoryRecord
from tendhost.server.store.sqlite import open_store

HOSTS_PER_CHANGE = 100
_HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHV0dGVybHkgbWFkZSB1cCwgZm9yIGJlbmNobWFya3M"


async def fill(state_dir: Path, count: int, *, inventories: bool = True) -> None:
    """Register `count` hosts in a folder that exists, each with the inventory of the recorded answer."""
    store = await open_store(state_dir / DATABASE)
    try:
        await fill_store(store, count, inventories=inventories)
    finally:
        await store.aclose()


async def fill_store(store: CommitStore, count: int, *, inventories: bool = True) -> None:
    """As `fill`, in a store that is open."""
    now = datetime.now(UTC)
    result = parse_query(recorded_answer(), at=now)
    seen = Observation(inventory=result.inventory, pending=result.pending, reboot=result.reboot)
    for start in range(0, count, HOSTS_PER_CHANGE):
        numbers = range(start, min(start + HOSTS_PER_CHANGE, count))
        hosts = [_host(number, seen, now) for number in numbers]
        await store.commit(
            Change(
                events=[Event(at=now, body=HostRegistered(), host=host.name) for host in hosts],
                hosts=hosts,
                inventories=[
                    InventoryRecord(host=host.name, inventory=seen.inventory, pending=seen.pending)
                    for host in hosts
                    if inventories
                ],
            )
        )


def _host(number: int, seen: Observation, now: datetime) -> Host:
    config = HostConfig(
        name=f"host-{number:05}",
        address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
        tags=(f"rack-{number % 40:02}", "web" if number % 3 else "database"),
        groups=(f"site-{number % 5}",),
    )
    host = Host(config=config, host_key=_HOST_KEY, registered_at=now)
    return host.after(Trigger.QUERY).observed(seen, now).succeeded(updated_at=None).settled()
