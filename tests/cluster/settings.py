"""What the programs of a cluster are told: addresses, and the text of each configuration file."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.programs import postgresql_folder

NODES = ("pg1", "pg2", "pg3")
MEMBERS = ("etcd1", "etcd2", "etcd3")
DATABASE = "tendhost"
POSTGRES_PORT, REST_PORT, BOUNCER_PORT = 5432, 8008, 6432
REPLICAS_PORT = 5433
CLIENT_PORT, PEER_PORT = 2379, 2380
TTL_SECONDS = 8
"""How long a primary that is not heard of keeps its key. Patroni 4 makes at least 20 of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """The loopback addresses of one cluster, 127.77.N.0/24: fixed ports, and no two clusters in each other's way."""

    number: int
    """1 to 254."""

    def _address(self, last: int) -> str:
        return f"127.77.{self.number}.{last}"

    @property
    def haproxy(self) -> str:
        return self._address(1)

    @property
    def pgbouncer(self) -> str:
        return self._address(2)

    @property
    def links(self) -> str:
        """Where the links that tests make for their clients listen, each on a port of its own."""
        return self._address(3)

    def node(self, name: str) -> str:
        """Where others reach a node: links, which can be cut."""
        return self._address(11 + NODES.index(name))

    def inside(self, name: str) -> str:
        """Where the node itself listens."""
        return self._address(111 + NODES.index(name))

    def member(self, name: str) -> str:
        return self._address(21 + MEMBERS.index(name))

    def etcd_of(self, node: str) -> list[tuple[str, int]]:
        """Where a node reaches the members of etcd: links of its own."""
        last = 31 + NODES.index(node)
        return [(self._address(last), CLIENT_PORT + 10 + number) for number in range(len(MEMBERS))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where clients find the database, without the password (`Cluster.password`)."""

    primary: str
    """HAProxy: the primary, whichever node it is."""
    replicas: str
    """HAProxy: any other node."""
    pgbouncer: str
    """The primary through PgBouncer, in transaction mode."""
    nodes: str
    """All nodes in one address, which asks for the one that takes writes."""

    @classmethod
    def on(cls, net: Net) -> "Addresses":
        several = ",".join(f"{net.node(node)}:{POSTGRES_PORT}" for node in NODES)
        return cls(
            primary=address_at(f"{net.haproxy}:{POSTGRES_PORT}"),
            replicas=address_at(f"{net.haproxy}:{REPLICAS_PORT}"),
            pgbouncer=address_at(f"{net.pgbouncer}:{BOUNCER_PORT}"),
            nodes=f"{address_at(several)}?target_session_attrs=read-write",
        )


def address_at(place: str) -> str:
    """The address of the database at HOST:PORT, for the user that owns it."""
    return f"postgresql://{DATABASE}@{place}/{DATABASE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """Made anew for each cluster."""

    superuser: str
    replication: str
    tendhost: str


def etcd_command(net: Net, name: str, program: str, folder: Path) -> list[str]:
    peers = ",".join(f"{each}=http://{net.member(each)}:{PEER_PORT}" for each in MEMBERS)
    clients, peer = (f"http://{net.member(name)}:{port}" for port in (CLIENT_PORT, PEER_PORT))
    options = {
        "name": name,
        "data-dir": str(folder / name),
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": peers,
        "enable-v2": "true",  # which Patroni uses: see patroni_file
        "initial-cluster-token": f"tendhost-{net.number}",
    }
    return [program, *(f"--{option}={value}" for option, value in options.items())]


def patroni_file(net: Net, name: str, folder: Path, passwords: Passwords) -> str:
    """A node's settings. JSON is YAML, too."""
    inside, outside = net.inside(name), net.node(name)
    return json.dumps(
        {
            "scope": "tendhost",
            "name": name,
            "restapi": {
                "listen": f"{inside}:{REST_PORT}",
                "connect_address": f"{outside}:{REST_PORT}",
            },
            # Not "etcd3": there Patroni 3.0 (Debian 12) puts the leader's key without a condition when a primary
            # wakes up that stood still, so that the new primary loses what it has acknowledged.
            "etcd": {
                "hosts": [f"{host}:{port}" for host, port in net.etcd_of(name)],
                # Else it would find out the members' own addresses, and go past its links.
                "use_proxies": True,
            },
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_SECONDS,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    "synchronous_mode": True,
                    # A primary that was killed is not waited for.
                    "primary_start_timeout": 0,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": _postgresql_parameters(),
                    },
                },
                "initdb": [
                    {"encoding": "UTF8"},
                    {"locale": "C"},
                    {"wal-segsize": "1"},
                    "data-checksums",
                    "no-sync",
                ],
            },
            "postgresql": {
                "listen": f"{inside}:{POSTGRES_PORT}",
                "connect_address": f"{outside}:{POSTGRES_PORT}",
                "data_dir": str(folder / name),
                "bin_dir": str(postgresql_folder()),
                "pgpass": str(folder / f"{name}.pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": passwords.superuser},
                    "replication": {"username": "replicator", "password": passwords.replication},
                },
                "pg_hba": [
                    "host all all 127.0.0.0/8 scram-sha-256",
                    "host replication replicator 127.0.0.0/8 scram-sha-256",
                ],
                "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            },
        },
        indent=1,
    )


def _postgresql_parameters() -> dict[str, object]:
    return {
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "max_connections": 100,
        "shared_buffers": "16MB",
        "min_wal_size": "4MB",
        "max_wal_size": "128MB",
        "wal_keep_size": "64MB",
        # Processes are killed here, never machines: what was written is in the page cache.
        "fsync": "off",
        "wal_sender_timeout": "3s",
        "wal_receiver_timeout": "3s",
        "wal_retrieve_retry_interval": "500ms",
        "log_checkpoints": "off",
    }


def haproxy_file(net: Net) -> str:
    """The primary on one port, and the replicas on another, as the nodes' Patroni says."""

    def section(name: str, port: int, path: str) -> str:
        servers = "\n".join(
            f"    server {node} {net.node(node)}:{POSTGRES_PORT} check port {REST_PORT}"
            for node in NODES
        )
        return f"""
listen {name}
    bind {net.haproxy}:{port}
    option httpchk OPTIONS {path}
    http-check expect status 200
    default-server inter 500 fastinter 200 fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""

    return f"""global
    maxconn 500
defaults
    mode tcp
    timeout connect 2s
    timeout check 2s
    timeout client 1h
    timeout server 1h
{section("primary", POSTGRES_PORT, "/primary")}{section("replicas", REPLICAS_PORT, "/replica")}"""


def pgbouncer_file(net: Net, folder: Path) -> str:
    return f"""[databases]
{DATABASE} = host={net.haproxy} port={POSTGRES_PORT} dbname={DATABASE}
[pgbouncer]
listen_addr = {net.pgbouncer}
listen_port = {BOUNCER_PORT}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder / "users.txt"}
pool_mode = transaction
max_client_conn = 400
default_pool_size = 20
server_connect_timeout = 3
server_login_retry = 1
"""


def pgbouncer_users(passwords: Passwords) -> str:
    """The file of the users: the password itself, which PgBouncer needs to log in to the server."""
    return f'"{DATABASE}" "{passwords.tendhost}"\n'
