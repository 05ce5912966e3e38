"""`make demo`: tendhost patches a small fleet of its own, in waves, before your eyes.

Seven hosts run on this machine, each in namespaces of its own with a real sshd, package manager and
reboot: five with apt, two with dnf, and one of them has a docker with two compose projects. Without root,
or with FLEET=simulated, four simulated ones take their place and are called so. One of the hosts cannot
configure a package, two want a reboot, and one project's newer image never gets healthy. Everything is
shown with the commands that a user would type.
"""

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.fleets import DemoFleet, fleet
from tendhost.client import Client

BIN = Path(sys.executable).parent
UPGRADED = "2.0-1"


def main() -> int:
    """Run the demo; 0 when everything went as it is told to."""
    with fleet() as hosts, tempfile.TemporaryDirectory(prefix="tendhost-demo-") as folder:
        say(f"{len(hosts.hosts)} {hosts.kind} hosts are up.")
        with server(Path(folder), hosts) as address:
            return show(hosts, address)


def show(hosts: DemoFleet, address: str) -> int:
    """The demo itself, against a running server."""
    cli = Cli(address)
    say("Register them. The host key that each shows now is pinned.")
    for host in hosts.hosts:
        cli(
            *("host", "add", host.name, "--address", host.address, "--port", str(host.port)),
            *("--tag", "all", "--group", "production"),
            *(_stack_options(hosts) if host.name == hosts.apps else ()),
        )
    say("Ask them what is installed and pending, and which fixes the fleet still lacks.")
    cli("query", *(host.name for host in hosts.hosts))
    cli("updates", "--security")
    say("What would an update of the first one do? Nothing is changed by asking.")
    cli("update", hosts.hosts[0].name, "--dry-run")
    say("Now all of them: one first, then three, then the rest.")
    rollout = json.loads(
        cli.quietly(
            *("rollout", "start", "--tag", "all", "--waves", "1,3,rest", "--delay", "1s"),
            *("--output", "json"),
        )
    )["id"]
    cli("rollout", "watch", rollout, expected=1)  # 1: a host failed, as it was meant to
    say("What the fleet looks like now, and why some hosts need a person.")
    cli("host", "list")
    cli("host", "show", hosts.failing)
    if hosts.apps:
        cli("host", "show", hosts.apps)
        cli("host", "inventory", hosts.apps)
    cli("updates", "--security")
    return judge(hosts, address, rollout, cli)


def judge(hosts: DemoFleet, address: str, rollout: str, cli: "Cli") -> int:
    """Compare what tendhost says with what the hosts themselves say."""
    say("Is it true? What the hosts themselves say, past tendhost:")
    upgraded = []
    stacks_as_told = True
    for host in hosts.hosts:
        version = host.version_of("tb-simple")
        state = host.package_state(hosts.failing_package)
        print(f"  {host.name}: tb-simple {version}, {hosts.failing_package} {state}")
        if version == UPGRADED and host.name != hosts.failing:
            upgraded.append(host.name)
        if host.name == hosts.apps:
            served = {stack: hosts.served(stack) for stack in hosts.stacks}
            print(f"  {host.name}: {served}")
            stacks_as_told = [text.endswith("two") for text in served.values()] == [True, False]
    reboots = {host.name: host.boot_count - 1 for host in hosts.hosts}
    print(f"  reboots: {reboots}")
    numbers = {
        "tendhost": cli_numbers(cli, rollout),
        "the SDK": asyncio.run(sdk_numbers(address, rollout)),
    }
    grpcurl = shutil.which("grpcurl") or shutil.which("grpcurl", path=".tools/bin")
    if grpcurl:
        numbers["grpcurl"] = grpcurl_numbers(grpcurl, address, rollout)
    say("The same numbers from every side: (completed, failed)")
    for who, pair in numbers.items():
        print(f"  {who}: {pair}")
    gaps = asyncio.run(missing_revisions(address))
    say(f"Events without a gap: {'yes' if not gaps else f'no, {gaps} are missing'}.")
    failed = 2 if hosts.apps else 1
    expected = (len(hosts.hosts) - failed, failed)
    as_told = (
        set(numbers.values()) == {expected}
        and len(upgraded) == len(hosts.hosts) - 1
        and reboots == {h.name: int(h.name in hosts.rebooting) for h in hosts.hosts}
        and stacks_as_told
        and not gaps
    )
    back = ", 1 compose project is back on its former image" if hosts.apps else ""
    say(
        f"{len(upgraded)} hosts upgraded, 1 failed with its reason, {len(hosts.rebooting)} rebooted"
        f"{back}."
        if as_told
        else "This is not what was meant to happen."
    )
    return 0 if as_told else 1


def _stack_options(hosts: DemoFleet) -> tuple[str, ...]:
    paths = (word for stack in hosts.stacks for word in ("--compose-path", stack))
    return (*paths, "--compose-health-timeout", "15s")


class Cli:
    """The `tendhost` command, shown as a user would type it."""

    def __init__(self, server: str) -> None:
        self._environment = {**os.environ, "TENDHOST_SERVER": server}

    def __call__(self, *words: str, expected: int = 0) -> None:
        """Run it for the viewer."""
        print(f"\n$ tendhost {shlex.join(words)}", flush=True)
        done = subprocess.run([BIN / "tendhost", *words], env=self._environment, check=False)
        if done.returncode != expected:
            raise SystemExit(f"tendhost ended with {done.returncode}, not {expected}")

    def quietly(self, *words: str) -> str:
        """Run it for its output."""
        print(f"\n$ tendhost {shlex.join(words)}", flush=True)
        command = [str(BIN / "tendhost"), *words]
        done = subprocess.run(
            command, env=self._environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout


@contextmanager
def server(folder: Path, hosts: DemoFleet) -> Iterator[str]:
    """A tendhostd of its own, with its database and its socket in `folder`; gives its address."""
    environment = {**os.environ, "TENDHOST_SSH_KEY": hosts.login_key}
    command = [str(BIN / "tendhostd"), "--listen", f"unix:{folder / 'tendhostd.sock'}"]
    command += ["--state-dir", str(folder / "state")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().decode()
            if not ready:
                raise SystemExit(f"tendhostd did not start:\n{(folder / 'log').read_text()}")
            print(f"\n$ tendhostd --listen unix:… …\n{ready.strip()}")
            yield ready.split()[-1]
        finally:
            process.terminate()
            process.wait()


def cli_numbers(cli: Cli, rollout: str) -> tuple[int, int]:
    """Completed and failed hosts, as the command says."""
    progress = json.loads(cli.quietly("rollout", "show", rollout, "--output", "json"))["progress"]
    return progress["completed"], progress["failed"]


async def sdk_numbers(address: str, rollout: str) -> tuple[int, int]:
    """Completed and failed hosts, as the SDK says."""
    async with Client(address) as tendhost:
        progress = (await tendhost.get_rollout(rollout)).progress
        return progress.completed, progress.failed


def grpcurl_numbers(grpcurl: str, address: str, rollout: str) -> tuple[int, int]:
    """Completed and failed hosts, as a program without any of our code says."""
    method = "tendhost.v1.RolloutService/GetRollout"
    body = json.dumps({"id": rollout})
    socket = address.removeprefix("unix:")
    command = [grpcurl, "-plaintext", "-d", body, "-unix", socket, method]
    print(f"\n$ {shlex.join(['grpcurl', *command[1:]])}")
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    progress = json.loads(answer)["rollout"]["progress"]
    return progress.get("completed", 0), progress.get("failed", 0)


async def missing_revisions(address: str) -> int:
    """How many revisions are missing in the event log."""
    async with Client(address) as tendhost:
        current = (await tendhost.info()).revision
        stream = tendhost.events(resume_after=0, until=current)
        seen = {item.revision async for item in stream}
        return len(set(range(1, current + 1)) - seen)


def say(text: str) -> None:
    """A sentence to the viewer."""
    print(f"\n# {text}", flush=True)


if __name__ == "__main__":
    began = time.perf_counter()
    status = main()
    say(f"That took {time.perf_counter() - began:.0f} s.")
    sys.exit(status)
