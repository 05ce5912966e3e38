"""The command line of the simulated hosts: python -m tests.simulated --hosts 200 --mode recorded --json."""

import argparse
import json
import resource
import shlex
import sys
import tempfile
from pathlib import Path

from tests.simulated.fleet import RecordedFleet, SimulatedFleet

PACKAGES = ("tb-simple", "tb-secure", "tb-held")


def main() -> None:
    """Keep hosts up until the standard input ends."""
    arguments = _parser().parse_args()
    _allow_many_sockets()
    packages = [name for name in arguments.packages.split(",") if name]
    fleet: RecordedFleet | SimulatedFleet
    if arguments.mode == "recorded":
        fleet = RecordedFleet(arguments.hosts, packages=packages, others=arguments.others)
    else:
        names = (f"host{number}" for number in range(1, arguments.hosts + 1))
        fleet = SimulatedFleet(dict.fromkeys(names, packages), others=arguments.others)
    with tempfile.TemporaryDirectory(prefix="tendhost-simulated-key-") as folder, fleet:
        key = Path(folder) / "login_key"
        key.touch(mode=0o600)
        key.touch(mode=0o600)
        key.write_bytes(fleet.private_key)
        for host in fleet.hosts:
            found: dict[str, str | int] = {
                "name": host.name,
                "address": host.address,
                "port": host.port,
                "user": "root",
                "ssh_key": str(key),
                "host_key": host.host_key,
            }
            print(json.dumps(found) if arguments.json else _host_add(found))
        sys.stdout.flush()
        sys.stdin.read()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulated",
        description="Simulated hosts on loopback ports, until the standard input ends. No root needed.",
    )
    parser.add_argument("--hosts", type=int, default=4, help="how many (default 4)")
    parser.add_argument(
        "--mode",
        choices=("shell", "recorded"),
        default="shell",
        help="shell: each keeps a state (default); recorded: thousands that tell the same",
    )
    parser.add_argument(
        "--packages",
        default=",".join(PACKAGES),
        help="installed on each, with an update waiting, by comma (default %(default)s)",
    )
    parser.add_argument(
        "--others", type=int, default=0, help="so many more installed, without an update"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each host")
    return parser


def _allow_many_sockets() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _host_add(found: dict[str, str | int]) -> str:
    words = ["tendhost", "host", "add", found["name"], "--address", found["address"]]
    words += [
        "--port",
        found["port"],
        "--ssh-key",
        found["ssh_key"],
        "--host-key",
        found["host_key"],
    ]
    return shlex.join(map(str, words))


if __name__ == "__main__":
    main()
