"""The command line of the fleet: python -m tests.fleet requirements | install | build | up | run."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import get_args

from tests.fleet.archive import VERSION_SETS, default_packages
from tests.fleet.base import ensure_base
from tests.fleet.errors import FleetError
from tests.fleet.families import FAMILIES, Release
from tests.fleet.fleet import Fleet
from tests.fleet.host import Host, HostSpec
from tests.fleet.requirements import DEBIAN_PACKAGES, install_packages, missing_requirements


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _end)
    try:
        match arguments.command:
            case "requirements":
                return _requirements()
            case "install":
                install_packages(DEBIAN_PACKAGES)
                return 0
            case "build":
                return _build(arguments)
            case "up":
                return _up(arguments)
            case _:
                return _run(arguments)
    except (FleetError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description="Real hosts here.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "requirements", help="print what this machine lacks; status 1 when it lacks anything"
    )
    commands.add_parser("install", help="install the Debian packages that are missing")
    build = commands.add_parser(
        "build", help="build the base that all hosts share, unless it is cached"
    )
    up = commands.add_parser("up", help="keep a fleet up until Ctrl-C")
    run = commands.add_parser(
        "run", help="run a command while a fleet is up; $TENDHOST_FLEET describes it"
    )
    run.add_argument("argument", nargs="+", metavar="COMMAND")
    for command in (up, run):
        command.add_argument("--hosts", type=int, default=4, help="how many (default 4)")
        command.add_argument(
            "--osquery", action="store_true", help="give each host a stand-in for osqueryi"
        )
        command.add_argument("--init", choices=("systemd", "tiny"), default="systemd")
        command.add_argument(
            "--publish", choices=VERSION_SETS, default="v2", help="version set (default v2)"
        )
        command.add_argument(
            "--packages", help="installed on each host, by comma (default: those of the family)"
        )
    for command in (build, up, run):
        command.add_argument(
            "--family", choices=FAMILIES, default="debian", help="of the hosts (default debian)"
        )
        command.add_argument(
            "--release", choices=get_args(Release), default="bookworm", help="of their Debian"
        )
    return parser


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _requirements() -> int:
    missing = missing_requirements()
    print("\n".join(missing) if missing else "nothing is missing")
    return 1 if missing else 0


def _build(arguments: argparse.Namespace) -> int:
    base = ensure_base().of(arguments.release)
    family = arguments.family
    base.layers(init="systemd", packages=default_packages(family), family=family)
    print(base.folder)
    return 0


def _fleet(arguments: argparse.Namespace) -> Fleet:
    packages = arguments.packages
    spec = HostSpec(
        family=arguments.family,
        release=arguments.release,
        packages=None if packages is None else tuple(filter(None, packages.split(","))),
        osquery=arguments.osquery,
    )
    return Fleet([spec] * arguments.hosts, init=arguments.init, version_set=arguments.publish)


def _up(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    with _fleet(arguments) as fleet:
        print(
            f"{len(fleet.hosts)} hosts are up after {time.monotonic() - started:.1f} s; Ctrl-C ends them\n"
        )
        for host in fleet.hosts:
            print(f"{host.name}\t{host.address}\t{fleet.private_key}")
        print()
        for host in fleet.hosts:
            print(_host_add(host))
        print(
            f"\nssh -F {fleet.ssh_config} {fleet.hosts[0].name}" if fleet.hosts else "", flush=True
        )
        while True:
            signal.pause()


def _host_add(host: Host) -> str:
    words = ["tendhost", "host", "add", host.name, "--address", host.address, "--user", host.user]
    return shlex.join([*words, "--host-key", host.host_key])


def _run(arguments: argparse.Namespace) -> int:
    with _fleet(arguments) as fleet:
        environment = {
            "TENDHOST_FLEET": json.dumps(fleet.describe()),
            "TENDHOST_FLEET_KEY": str(fleet.private_key),
            "TENDHOST_FLEET_KNOWN_HOSTS": str(fleet.known_hosts),
            "TENDHOST_FLEET_SSH_CONFIG": str(fleet.ssh_config),
        }
        # The command must not outlive a runner that is killed.  It hangs on this thread's life,
        # which is the main one.
        tied = ["setpriv", "--pdeathsig", "KILL", *arguments.argument]
        command = subprocess.Popen(tied, env=os.environ | environment)
        try:
            return command.wait()
        except KeyboardInterrupt:
            command.terminate()
            command.wait()
            raise


if __name__ == "__main__":
    sys.exit(main())
