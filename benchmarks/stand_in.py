"""Stands in for sshd where none is installed: SSH servers in one process, which give the recorded answer too.

Called with a folder that `endpoints.py` has prepared. It says "ready" once all of them listen.
"""

import asyncio
import json
import sys
from pathlib import Path

import asyncssh

from benchmarks.endpoints import DESCRIPTION, PRINTED


async def main(folder: Path) -> None:
    answer = (folder / PRINTED).read_bytes()

    async def give_answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(answer)
        process.exit(0)

    for host in json.loads((folder / DESCRIPTION).read_text()):
        await asyncssh.create_server(
            asyncssh.SSHServer,
            host["address"],
            host["port"],
            server_host_keys=[str(folder / host["key"])],
            authorized_client_keys=str(folder / "authorized_keys"),
            process_factory=give_answer,
            encoding=None,
        )
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
