"""The command line of the cluster: python -m tests.cluster requirements | install | up | run."""

import argparse
import asyncio
import os
import subprocess
import sys
import time

from tests.cluster.database_cluster import Cluster, cluster
from tests.cluster.keeping import ClusterError
from tests.cluster.programs import CLUSTER_PACKAGES, missing_programs, nothing_started
from tests.cluster.settings import NODES
from tests.fleet.requirements import install_packages


def main() -> int:
    """Exit status: that of the command that was run; else 0, or 1 when something is missing or did not start."""
    arguments = _parser().parse_args()
    try:
        match arguments.command:
            case "requirements":
                for name in missing_programs():
                    print(f"the Debian package {name} is not installed")
                return 1 if missing_programs() else 0
            case "install":
                with nothing_started():
                    install_packages(CLUSTER_PACKAGES)
                return 0
            case _:
                return asyncio.run(_with_cluster(arguments))
    except (ClusterError, FileNotFoundError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster", description="A PostgreSQL cluster on loopback."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "requirements", help="print what this machine lacks; status 1 when it lacks anything"
    )
    commands.add_parser("install", help="install the Debian packages; no service is started")
    commands.add_parser("up", help="keep a cluster up until Ctrl-C")
    run = commands.add_parser(
        "run", help="run a command while a cluster is up; $TENDHOST_CLUSTER is its address"
    )
    run.add_argument("argument", nargs="+", metavar="COMMAND")
    return parser


async def _with_cluster(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    async with cluster() as up:
        if arguments.command == "up":
            print(f"The cluster is up after {time.monotonic() - began:.1f} s; Ctrl-C ends it.\n")
            await _show(up)
            await asyncio.Event().wait()
        environment = {
            "TENDHOST_CLUSTER": up.addresses.primary,
            "TENDHOST_CLUSTER_NODES": up.addresses.nodes,
            "TENDHOST_CLUSTER_PGBOUNCER": up.addresses.pgbouncer,
            "PGPASSWORD": up.password,
        }
        # The command must not outlive a runner that is killed.
        tied = ["setpriv", "--pdeathsig", "KILL", *arguments.argument]
        command = await asyncio.create_subprocess_exec(*tied, env=os.environ | environment)
        return await command.wait()


async def _show(up: Cluster) -> None:
    primary, synchronous = await up.primary(), await up.synchronous()
    for node in NODES:
        role = "primary" if node == primary else "synchronous" if node in synchronous else "replica"
        print(f"{node}\t{up.net.node(node)}:5432\t{role}")
    print(f"\nexport PGPASSWORD={up.password}")
    for words, address in (
        ("the primary", up.addresses.primary),
        ("the primary, through PgBouncer", up.addresses.pgbouncer),
        ("all nodes", up.addresses.nodes),
        ("a replica, to read", up.addresses.replicas),
    ):
        print(f"psql '{address}'  # {words}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
