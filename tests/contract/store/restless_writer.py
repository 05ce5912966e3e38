"""A program that writes until it is killed, and says of each change that it is stored.

    python -m tests.contract.store.restless_writer BACKEND ADDRESS

Each line holds the revision, the host, and how many times that host was written.
"""

import asyncio
import sys
from dataclasses import replace

from tendhost.server.store.protocol import Store
from tendhost.server.store.records import Change
from tests.contract.store.backends import BACKENDS
from tests.contract.store.samples import a_host, an_event

WRITERS = 8


async def write(store: Store, name: str) -> None:
    host, number = a_host(name), 0
    while True:
        number += 1
        host = replace(host, status=replace(host.status, pending_count=number))
        committed = await store.commit(Change(events=(an_event(name),), hosts=(host,)))
        host = replace(host, revision=committed.revision)
        print(committed.revision, name, number, flush=True)


async def main(backend: str, address: str) -> None:
    store = await BACKENDS[backend](address)
    await asyncio.gather(*(write(store, f"h{number}") for number in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
