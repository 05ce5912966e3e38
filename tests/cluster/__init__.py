"""A database cluster of real programs on loopback: PostgreSQL under Patroni and etcd, HAProxy and PgBouncer."""

from tests.cluster.database_cluster import ClientLink, Cluster, cluster
from tests.cluster.keeping import ClusterError
from tests.cluster.programs import missing_programs
from tests.cluster.settings import MEMBERS, NODES, Addresses

__all__ = [
    "MEMBERS",
    "NODES",
    "Addresses",
    "ClientLink",
    "Cluster",
    "ClusterError",
    "cluster",
    "missing_programs",
]
