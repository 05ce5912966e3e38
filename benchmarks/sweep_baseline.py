"""The baseline of `sweep`: asyncssh and nothing around it, tuned as tendhost tunes it.

It reads a description of the hosts (see `sweep.py`), says "ready", and then asks all of them once for
every line that it is given.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncssh

from tendhost.server.remote.shell import MARK

ENCRYPTION = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
END = MARK + b"end 0\n"
"""The last line of a script that a host has run to its end."""


def options(user: str, private_key: str) -> dict[str, Any]:
    """What all connections have in common: keys parsed once, nothing tried that cannot succeed."""
    return {
        "config": None,
        "server_host_key_algs": ("ssh-ed25519",),
        "username": user,
        "client_keys": [asyncssh.read_private_key(private_key)],
        "agent_path": None,
        "preferred_auth": "publickey",
        "gss_kex": False,
        "gss_auth": False,
        "x509_trusted_certs": None,
        "kex_algs": KEX,
        "encryption_algs": ENCRYPTION,
        "compression_algs": None,
    }


async def main(description: Mapping[str, Any]) -> None:
    hosts, script = description["hosts"], description["script"]
    common = options(hosts[0]["user"], description["private_key"])
    known = {host["name"]: asyncssh.import_public_key(host["host_key"]) for host in hosts}
    slots = asyncio.Semaphore(description["at_once"])

    async def ask(host: Mapping[str, Any]) -> None:
        trusted: Any = ([known[host["name"]]], [], [])
        async with (
            slots,
            asyncssh.connect(
                host["address"], host["port"], known_hosts=trusted, **common
            ) as connection,
        ):
            done = await connection.run(script, encoding=None)
        assert isinstance(done.stdout, bytes)
        if not done.stdout.endswith(END):
            raise SystemExit(f"{host['name']} gave no whole answer")

    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        async with asyncio.TaskGroup() as tasks:
            for host in hosts:
                tasks.create_task(ask(host))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
