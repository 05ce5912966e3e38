"""The baseline of `sweep`: asyncssh and nothing around it, tuned as tendhost tunes it.

It reads a description of the hosts (see `sweep.py`), says "ready", and then asks all of them once for
every line that it is given.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

ENCRYPTION = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
END = b"tendhost end\n"


class Pinned(asyncssh.SSHClient):
    """Trusts one key: known hosts would need options for each host, which cost as much as a login."""

    def __init__(self, key: asyncssh.SSHKey) -> None:
        self._key = key

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """See asyncssh."""
        return key == self._key


def options(user: str, private_key: str) -> asyncssh.SSHClientConnectionOptions:
    """What all connections share: keys parsed once, nothing tried that cannot succeed."""
    return asyncssh.SSHClientConnectionOptions(
        config=None,
        known_hosts=([], [], []),
        server_host_key_algs=("ssh-ed25519",),
        username=user,
        client_keys=[asyncssh.read_private_key(private_key)],
        agent_path=None,
        preferred_auth="publickey",
        gss_kex=False,
        gss_auth=False,
        x509_trusted_certs=None,
        kex_algs=KEX,
        encryption_algs=ENCRYPTION,
        compression_algs=None,
    )


async def ask(
    host: Mapping[str, Any],
    client: Callable[[], asyncssh.SSHClient],
    shared: asyncssh.SSHClientConnectionOptions,
    script: str,
    slots: asyncio.Semaphore,
) -> None:
    """Connect, run the script, and hold the host to a whole answer."""
    async with slots:
        connection, _ = await asyncssh.create_connection(
            client, host["address"], host["port"], options=shared
        )
        async with connection:
            done = await connection.run(script, encoding=None)
    assert isinstance(done.stdout, bytes)
    if not done.stdout.endswith(END):
        raise SystemExit(f"{host['name']} gave no whole answer")


async def main(description: Mapping[str, Any]) -> None:
    hosts = description["hosts"]
    shared = options(hosts[0]["user"], description["private_key"])
    clients = [partial(Pinned, asyncssh.import_public_key(host["host_key"])) for host in hosts]
    slots = asyncio.Semaphore(description["at_once"])
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        async with asyncio.TaskGroup() as tasks:
            for host, client in zip(hosts, clients, strict=True):
                tasks.create_task(ask(host, client, shared, description["script"], slots))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
