"""Three PostgreSQL nodes under Patroni and etcd, HAProxy in front, PgBouncer beside: real programs, on loopback."""

import asyncio
import contextlib
import os
import secrets
import signal
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from tests.cluster.keeping import ClusterError, Keeping, gone, keeper, send
from tests.cluster.links import Mode
from tests.cluster.patroni import LOOK_SECONDS, Patroni, exchange, working_members
from tests.cluster.programs import give, postgresql_folder, program
from tests.cluster.settings import (
    CLIENT_PORT,
    DATABASE,
    MEMBERS,
    NODES,
    POSTGRES_PORT,
    REST_PORT,
    Addresses,
    Net,
    Passwords,
    address_at,
    etcd_command,
    haproxy_file,
    patroni_file,
    pgbouncer_file,
    pgbouncer_users,
)
from tests.fleet.processes import descendants

START_SECONDS = 90.0
PATIENCE_SECONDS = 25.0
"""Longer than what a node needs that comes back by itself."""
FAILOVER_SECONDS = 60.0
"""Patroni 4 notices a dead primary after 20 seconds at the earliest; the rest is for a busy machine."""
ROOM_BYTES = 1 << 30
POLL_SECONDS = 0.1


class Cluster:
    """A cluster that is up.

    A node is one of `NODES`. Whatever waits raises ClusterError when it has waited too long.
    """

    def __init__(self, keeping: Keeping, folder: Path, passwords: Passwords) -> None:
        self._keeping = keeping
        self._folder = folder
        self._passwords = passwords
        self._links = 0
        self.net: Net = keeping.net
        self.password = passwords.tendhost
        self.addresses = Addresses.on(self.net)
        self._patroni = Patroni(self.net)

    # --- looking ---

    async def primary(self) -> str | None:
        """The node that takes writes; None while there is none."""
        return await self._patroni.primary()

    async def synchronous(self) -> list[str]:
        """The nodes that have every commit, besides the primary."""
        return [m["name"] for m in await self._patroni.members() if m.get("role") == "sync_standby"]

    async def whole(self, *, nodes: int = len(NODES), seconds: float = START_SECONDS) -> str:
        """Wait until that many nodes work, one of them as primary and one synchronously; returns the primary.

        A node that does not come back by itself is made anew from the primary, as its owner would do.
        """
        loop = asyncio.get_running_loop()
        patience = loop.time() + PATIENCE_SECONDS

        async def is_whole() -> bool:
            nonlocal patience
            members = await self._patroni.members()
            working = working_members(members)
            if len(working) >= nodes:
                return await self._takes_writes()
            if loop.time() > patience:
                patience = loop.time() + PATIENCE_SECONDS
                for name in {m["name"] for m in members} - {m["name"] for m in working}:
                    with contextlib.suppress(ClusterError):
                        await self._patroni.change(name, "/reinitialize", force=True)
            return False

        await self.until(is_whole, f"a primary, and {nodes} nodes", seconds)
        return await self._any_primary()

    async def sql(self, text: str, *, at: str | None = None, seconds: float = 10.0) -> str:
        """What psql prints of a statement. Raises ClusterError with what it says."""
        process = await asyncio.create_subprocess_exec(
            *(program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
            *("-d", at or self.addresses.primary, "-c", text),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "3"},
        )
        try:
            async with asyncio.timeout(seconds):
                out, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise ClusterError(f"no answer within {seconds} s to {text}") from None
        if process.returncode:
            raise ClusterError(errors.decode().strip())
        return out.decode().strip()

    # --- faults ---

    async def kill(self, node: str) -> None:
        """kill -9 of a node: of its Patroni and its PostgreSQL, which comes back with `restart` only."""
        pids = self._node_pids(node)
        send(pids, signal.SIGSTOP)  # so that none starts another meanwhile
        pids += [pid for pid in self._node_pids(node) if pid not in pids]
        send(pids, signal.SIGKILL)
        await gone(pids)
        for port in (POSTGRES_PORT, REST_PORT):  # nobody listens: the links must not either
            await self._keeping.set_link(f"{node}:{port}", "refused")

    async def kill_postgresql(self, node: str) -> None:
        """kill -9 of a node's PostgreSQL alone, which its Patroni notices."""
        postmaster = self._postmaster(node)
        pids = [postmaster, *descendants(postmaster)] if postmaster else []
        send(pids, signal.SIGKILL)
        await gone(pids)

    @contextlib.asynccontextmanager
    async def stop_continue(self, node: str) -> AsyncIterator[None]:
        """SIGSTOP to all of a node, and SIGCONT at the end of the block."""
        pids = self._node_pids(node)
        send(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            send(pids, signal.SIGCONT)

    async def restart(self, node: str) -> None:
        """Start a node that was killed, or restart the PostgreSQL of one that runs."""
        if self._keeping.tree(node):
            await self._patroni.change(node, "/restart", timeout="10")
        else:
            await self.mend(node)
            await self._start_node(node)

    async def failover(self) -> str:
        """Have a synchronous node promoted, while the primary lives; returns the new primary."""
        old = await self.whole(nodes=2)
        candidate = (await self.synchronous())[0]
        await self._patroni.change(old, "/failover", candidate=candidate)
        return await self.promoted(instead_of=old)

    async def promoted(self, *, instead_of: str, seconds: float = FAILOVER_SECONDS) -> str:
        """Wait until HAProxy leads to another primary than this one; returns its name."""

        async def another() -> bool:
            return await self.primary() not in {None, instead_of} and await self._takes_writes()

        await self.until(another, f"another primary than {instead_of}", seconds)
        return await self._any_primary()

    async def cut(self, node: str, mode: Mode = "silent", delay: float = 0.5) -> None:
        """Cut a node off from clients, other nodes and etcd; `mend` it with the mode "open"."""
        for link in self._links_of(node):
            await self._keeping.set_link(link, mode, delay)

    async def mend(self, node: str) -> None:
        await self.cut(node, "open")

    async def link(self, to: str | None = None) -> "ClientLink":
        """A way to the database for one client alone, which can be cut; to an address of `addresses` (the primary)."""
        host, port = (to or self.addresses.primary).partition("@")[2].split("/")[0].split(":")
        self._links += 1
        name = f"client{self._links}"
        listen = (self.net.links, 20000 + self._links)
        await self._keeping.link(name, listen, (host, int(port)))
        return ClientLink(self._keeping, name, address_at(f"{listen[0]}:{listen[1]}"))

    @contextlib.asynccontextmanager
    async def etcd_without_quorum(self) -> AsyncIterator[None]:
        """kill -9 of two members of etcd, which start again at the end of the block."""
        lost = MEMBERS[1:]
        for member in lost:
            pids = self._keeping.tree(member)
            send(pids, signal.SIGKILL)
            await gone(pids)
        try:
            yield
        finally:
            for member in lost:
                await self._start_member(member)

    async def restart_pgbouncer(self) -> None:
        """kill -9, and start again."""
        pids = self._keeping.tree("pgbouncer")
        send(pids, signal.SIGKILL)
        await gone(pids)
        await self._start_pgbouncer()

    # --- starting ---

    async def start(self) -> None:
        """Start everything, and wait until all nodes work."""
        net, keeping = self.net, self._keeping
        self._write_files()
        for node in NODES:
            for port in (POSTGRES_PORT, REST_PORT):
                await keeping.link(
                    f"{node}:{port}", (net.node(node), port), (net.inside(node), port)
                )
            for member, listen in zip(MEMBERS, net.etcd_of(node), strict=True):
                await keeping.link(f"{node}:{member}", listen, (net.member(member), CLIENT_PORT))
        for member in MEMBERS:
            await self._start_member(member)
        # Patroni ends when it cannot read the version of a member that is not ready.
        await self.until(self._etcd_serves, "etcd")
        await keeping.start("haproxy", [program("haproxy"), "-db", "-f", self._file("haproxy.cfg")])
        await self._start_pgbouncer()
        # A node that is there before the first one has stored the settings looks every 10 seconds only.
        await self._start_node(NODES[0])
        await self._any_primary()
        for node in NODES[1:]:
            await self._start_node(node)
        await self._create_database()
        await self.whole()

    async def _create_database(self) -> None:
        primary = await self._any_primary()
        at = (
            f"postgresql://postgres:{self._passwords.superuser}@{self.net.inside(primary)}/postgres"
        )
        await self.sql(f"CREATE ROLE {DATABASE} LOGIN PASSWORD '{self.password}'", at=at)
        await self.sql(f"CREATE DATABASE {DATABASE} OWNER {DATABASE}", at=at)

    async def _takes_writes(self) -> bool:
        with contextlib.suppress(ClusterError):
            return await self.sql("SELECT pg_is_in_recovery()") == "f"
        return False

    async def _etcd_serves(self) -> bool:
        urls = [f"http://{self.net.member(member)}:{CLIENT_PORT}/version" for member in MEMBERS]
        requests = [urllib.request.Request(url) for url in urls]
        answers = await asyncio.gather(*(exchange(r, LOOK_SECONDS) for r in requests))
        return all(status == 200 and "not_decided" not in text for status, text in answers)

    async def _start_member(self, member: str) -> None:
        argv = etcd_command(self.net, member, program("etcd"), self._folder)
        await self._keeping.start(member, argv, {"ETCD_UNSUPPORTED_ARCH": os.uname().machine})

    async def _start_node(self, node: str) -> None:
        search = f"{postgresql_folder()}:{os.environ['PATH']}"
        argv = [program("patroni"), self._file(f"{node}.yml")]
        await self._keeping.start(node, argv, {"PATH": search})

    async def _start_pgbouncer(self) -> None:
        await self._keeping.start("pgbouncer", [program("pgbouncer"), self._file("pgbouncer.ini")])

    def _write_files(self) -> None:
        files = {
            "haproxy.cfg": haproxy_file(self.net),
            "pgbouncer.ini": pgbouncer_file(self.net, self._folder),
            "users.txt": pgbouncer_users(self._passwords),
            **{f"{n}.yml": patroni_file(self.net, n, self._folder, self._passwords) for n in NODES},
        }
        for name, text in files.items():
            Path(self._file(name)).write_text(text, encoding="utf-8")
        (self._folder / "logs").mkdir()
        give(self._folder)

    # --- what the rest is made of ---

    async def until(
        self, look: Callable[[], Awaitable[bool]], what: str, seconds: float = START_SECONDS
    ) -> None:
        """Look again until it is true. Raises ClusterError with the ends of the logs."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await look():
            if asyncio.get_running_loop().time() > deadline:
                logs = "\n".join(f"--- {n}\n{self._keeping.tail(n)}" for n in (*NODES, *MEMBERS))
                raise ClusterError(f"not there after {seconds:g} s: {what}\n{logs}")
            await asyncio.sleep(POLL_SECONDS)

    async def _any_primary(self) -> str:
        found: list[str] = []

        async def look() -> bool:
            found.extend(filter(None, [await self.primary()]))
            return bool(found)

        await self.until(look, "a primary")
        return found[0]

    def _node_pids(self, node: str) -> list[int]:
        postmaster = self._postmaster(node)
        pids = self._keeping.tree(node)
        return pids + ([postmaster, *descendants(postmaster)] if postmaster else [])

    def _postmaster(self, node: str) -> int | None:
        """PostgreSQL's own process, which is not below Patroni's."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = (self._folder / node / "postmaster.pid").read_text(encoding="ascii")
            pid = int(text.splitlines()[0])
            folder = Path(f"/proc/{pid}/cwd").readlink()
            return pid if folder == self._folder / node else None
        return None

    def _links_of(self, node: str) -> list[str]:
        ports = [f"{node}:{port}" for port in (POSTGRES_PORT, REST_PORT)]
        return ports + [f"{node}:{member}" for member in MEMBERS]

    def _file(self, name: str) -> str:
        return str(self._folder / name)


class ClientLink:
    """One client's way to the database."""

    def __init__(self, keeping: Keeping, name: str, address: str) -> None:
        self._keeping = keeping
        self._name = name
        self.address = address

    async def cut(self, mode: Mode = "silent", delay: float = 0.5) -> None:
        """Also with "slow", which delays each piece by `delay` seconds, and "refused"."""
        await self._keeping.set_link(self._name, mode, delay)

    async def mend(self) -> None:
        await self.cut("open")


@contextlib.asynccontextmanager
async def cluster(folder: Path | None = None) -> AsyncIterator[Cluster]:
    """Start a cluster and end it, in a folder that is made and removed: in memory where there is room.

    A given folder must be one that the unprivileged user can reach. Raises ClusterError.
    """
    made = _folder(folder or _roomy())
    superuser, replication, tendhost = (secrets.token_hex(12) for _ in range(3))
    passwords = Passwords(superuser=superuser, replication=replication, tendhost=tendhost)
    async with keeper(made) as keeping:
        started = Cluster(keeping, made, passwords)
        await started.start()
        yield started


def _folder(parent: Path) -> Path:
    made = Path(tempfile.mkdtemp(prefix="tendhost-cluster-", dir=parent))
    made.chmod(0o755)  # the unprivileged user goes through it
    return made


def _roomy() -> Path:
    memory = Path("/dev/shm")
    with contextlib.suppress(OSError):
        room = os.statvfs(memory)
        if room.f_bavail * room.f_frsize > ROOM_BYTES:
            return memory
    return Path(tempfile.gettempdir())
