"""A server that measures its own event loop: how much CPU time single turns of it take, in which nobody is served.

CPU time of the loop's thread, so that it is the same on a busy machine. It prints its address. After "begin"
it measures, after "end" it prints what it found as JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from benchmarks.hostless_engine import hostless_engine
from tendhost.server.main import DATABASE
from tendhost.server.store.sqlite import open_store
from tests.rpc.open_server import serving
from tests.turns import measured_turns


async def main(state_dir: Path) -> None:
    """Serve until standard input ends."""
    store = await open_store(state_dir / DATABASE)
    loop = asyncio.get_running_loop()
    async with (
        hostless_engine(store) as engine,
        serving(engine, "127.0.0.1:0") as address,
    ):
        print(address, flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            with measured_turns() as longest:
                cpu = time.process_time()
                print("begun", flush=True)
                await loop.run_in_executor(None, sys.stdin.readline)
                cpu = time.process_time() - cpu
            found = {"turn_ms": longest.seconds * 1000, "what": longest.what, "cpu_ms": cpu * 1000}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
