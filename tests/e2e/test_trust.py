"""A man in the middle: a second sshd with another key at the address of a host, and the whole of tendhost before it."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tendhost.v1 import host_service_pb2 as pb
from tendhost.v1.operation_pb2 import OPERATION_STATUS_SUCCEEDED
from tests.e2e.daemon import daemon
from tests.e2e.test_host_tests import command
from tests.fleet import Host, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

PORT = "2222"
GENUINE, OTHER = "/etc/ssh/genuine", "/etc/ssh/other"
PID, LOG = "/run/sshd_2222.pid", "/run/sshd_2222.log"
START = f"""
[ ! -s {PID} ] || kill "$(cat {PID})"
for _ in $(seq 100); do [ -e {PID} ] || break; sleep 0.1; done
: >{LOG}
exec /usr/sbin/sshd -p {PORT} -h "$1" -o PidFile={PID} -o HostKey="$1" -o LogLevel=VERBOSE -E {LOG}
"""


def serve(host: Host, key: str) -> None:
    """The sshd at PORT, with this key in place of the former one."""
    host.run(f"set -- {key}; {START}", check=True)


def hash_names(known_hosts: Path) -> None:
    """As HashKnownHosts of ssh_config(5) has them."""
    command = ["ssh-keygen", "-q", "-H", "-f", str(known_hosts)]
    subprocess.run(command, check=True, capture_output=True)


def log(host: Host) -> str:
    return host.output(f"cat {LOG}")


async def test_man_in_the_middle__is_refused_at_enrolment_and_at_every_connection(
    make_fleet, tmp_path: Path
) -> None:
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    for key in (GENUINE, OTHER):
        host.run(f"ssh-keygen -q -t ed25519 -N '' -f {key}", check=True)
    genuine = " ".join(host.output(f"cat {GENUINE}.pub").split()[:2])
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[{host.address}]:{PORT} {genuine}\nother.example.org {genuine}\n")
    await asyncio.to_thread(hash_names, known_hosts)
    add = ("host", "add", "web1", "--address", host.address, "--port", PORT)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await asyncio.to_thread(serve, host, OTHER)
        for named in (("--host-key", genuine), ("--known-hosts", str(known_hosts))):
            status, printed = await command(server, *add, *named)
            assert (status, printed) == (2, ""), named
        assert not (await server.hosts.ListHosts(pb.ListHostsRequest())).hosts
        await asyncio.to_thread(serve, host, GENUINE)
        status, printed = await command(server, *add, "--known-hosts", str(known_hosts))
        assert status == 0, printed
        assert (await server.query("web1")).status == OPERATION_STATUS_SUCCEEDED
        await asyncio.to_thread(serve, host, OTHER)
        for operation in (server.query, server.update):
            assert (await operation("web1")).problem.reason == "HOST_KEY_CHANGED"
        tested = await server.hosts.TestHost(pb.TestHostRequest(name="web1"))
        assert (tested.problem.reason, tested.host_key_pinned) == ("HOST_KEY_CHANGED", False)
        repin = ("host", "set", "web1", "--repin", "--known-hosts", str(known_hosts))
        assert (await command(server, *repin))[0] == 2
        # Nobody came so far as to say who he is, with which key.
        seen = await asyncio.to_thread(log, host)
        assert "Connection" in seen
        assert not [line for line in seen.splitlines() if "ublickey" in line or "user root" in line]
        await asyncio.to_thread(serve, host, GENUINE)
        assert (await command(server, *repin))[0] == 0
        assert (await server.retry("web1")).status == OPERATION_STATUS_SUCCEEDED
