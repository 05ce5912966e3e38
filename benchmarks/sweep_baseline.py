"""The baseline of `sweep`: asyncssh and nothing around it, tuned as tendhost tunes it.

It reads a description of the hosts (see `sweep.py`), says "ready", and then asks all of them once for
every line that it is given.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import asyncssh

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr")
KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
END = b"tendhost end\n"


async def _asked(
    host: dict[str, Any], key: asyncssh.SSHKey, known: Any, script: str, slots: asyncio.Semaphore
) -> None:
    async with slots:
        options = asyncssh.SSHClientConnectionOptions(
            username=host["user"],
            client_keys=[key],
            known_hosts=known,
            agent_path=None,
            config=None,
            encryption_algs=CIPHERS,
            kex_algs=KEX,
            compression_algs=("none",),
            x509_trusted_certs=None,
        )
        async with asyncssh.connect(host["address"], host["port"], options=options) as connection:
            done = await connection.run(script, encoding=None)
    assert isinstance(done.stdout, bytes)
    if not done.stdout.endswith(END):
        raise SystemExit(f"{host['name']} gave no whole answer")


async def _serve(description: dict[str, Any]) -> None:
    key = asyncssh.read_private_key(description["private_key"])
    hosts = description["hosts"]
    trusted: list[Any] = [
        ([asyncssh.import_public_key(host["host_key"])], [], []) for host in hosts
    ]
    slots = asyncio.Semaphore(description["at_once"])
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        async with asyncio.TaskGroup() as tasks:
            for host, known in zip(hosts, trusted, strict=True):
                tasks.create_task(_asked(host, key, known, description["script"], slots))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(Path(sys.argv[1]).read_text())))
