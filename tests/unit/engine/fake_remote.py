"""A fake way to fake hosts: the protocol of remote/ without SSH, and with its errors."""

import base64
import hashlib
import socket
from datetime import timedelta
from typing import NoReturn

from tendhost.server.domain.host_errors import (
    AuthenticationRefused,
    HostCertificateRefused,
    HostKeyChanged,
    HostUnreachable,
    LinkLost,
)
from tendhost.server.domain.hosts.host_keys import fingerprint
from tendhost.server.packages.boot import boot_script
from tendhost.server.packages.login import login_script
from tendhost.server.packages.reboot_order import going_down_script
from tendhost.server.packages.units import units_script
from tendhost.server.remote.job_scripts import START
from tendhost.server.remote.protocol import DEFAULT_OUTPUT_LIMIT, Completed, Target
from tests.unit.engine import fake_answers
from tests.unit.engine.fake_clock import FakeClock
from tests.unit.engine.fake_command import Command
from tests.unit.engine.fake_host import KEY, FakeHost


def kind_of(command: str) -> Command:
    """What a command is for; fails for one that no fake host knows."""
    exact = {
        boot_script(): Command.BOOT,
        units_script(): Command.UNITS,
        going_down_script(): Command.GOING_DOWN,
        login_script(): Command.LOGIN,
    }
    if command in exact:
        return exact[command]
    signs = {
        "tendhost-job": Command.JOB,
        "systemctl reboot": Command.REBOOT,
        "systemctl try-restart": Command.RESTART,
        "part unsound": Command.PREFLIGHT,
        "--print-uris": Command.DRY_RUN,
        "part reboot_required": Command.QUERY,
    }
    return next(kind for sign, kind in signs.items() if sign in command)


class FakeFleet:
    """Fake hosts by address, and the connector that reaches them."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.hosts: dict[str, FakeHost] = {}
        self.open_connections = 0
        self.key_problems: dict[str, str] = {}
        self.jumps: dict[str, Target | None] = {}
        """Through which the latest connection to a host went."""

    def add(self, address: str) -> FakeHost:
        """A new host, with a key of its own: the first one's is KEY."""
        others = [name for name in self.hosts if name != address]
        digest = hashlib.sha256(address.encode()).digest()
        own = f"ssh-ed25519 {base64.b64encode(digest).decode()}"
        key = own if others else KEY
        self.hosts[address] = FakeHost(address=address, clock=self.clock, key=key)
        return self.hosts[address]

    async def connect(self, target: Target) -> "FakeRemote":
        """See Connector."""
        host = self._listening(target.host, target.address)
        self.jumps[target.host] = target.jump
        if target.certified and not host.certificate:
            problem = f"it shows the host key {fingerprint(host.key)} without a certificate"
            raise HostCertificateRefused(host=target.host, address=target.address, problem=problem)
        if not (host.certificate or any(key in host.keys for key in target.host_keys)):
            raise HostKeyChanged(
                host=target.host,
                address=target.address,
                pinned=", ".join(map(fingerprint, target.host_keys)),
                shown=fingerprint(host.key),
            )
        if not host.accepts_key:
            raise AuthenticationRefused(
                host=target.host, address=target.address, problem="permission denied"
            )
        return FakeRemote(self, host, target)

    async def key_problem(self, *, address: str, ssh_key: str) -> str:
        """See Connector."""
        return self.key_problems.get(ssh_key, "")

    async def get_certified_key(self, target: Target) -> str:
        """See Connector."""
        return self._listening(target.host, target.address).certificate

    async def get_public_keys(self, target: Target) -> tuple[str, ...]:
        """See Connector."""
        return ("ssh-ed25519 AAAAserver",)

    async def get_host_key_kinds(
        self, *, host: str, address: str, port: int, jump: Target | None = None
    ) -> tuple[str, ...]:
        """See Connector."""
        return tuple(key.partition(" ")[0] for key in self._listening(host, address).keys)

    async def get_host_key(
        self, *, host: str, address: str, port: int, kind: str = "", jump: Target | None = None
    ) -> str:
        """See Connector."""
        keys = self._listening(host, address).keys
        return next(key for key in keys if key.startswith(kind))

    async def open_tunnel(
        self, *, host: str, address: str, port: int, jump: Target
    ) -> socket.socket:
        """See Connector: a fake network has no sockets."""
        raise HostUnreachable(host=host, address=address, problem=f"through {jump.host}:{port}")

    async def aclose(self) -> None:
        """See Connector."""

    def _listening(self, name: str, address: str) -> FakeHost:
        host = self.hosts.get(address)
        if host is None or not host.answers:
            raise HostUnreachable(host=name, address=address, problem="connection refused")
        return host


class FakeRemote:
    """An open way to a fake host; it is lost once that has rebooted or gone dark."""

    def __init__(self, fleet: FakeFleet, host: FakeHost, target: Target) -> None:
        self._fleet = fleet
        self._host = host
        self._target = target
        self._boot, self._cuts = host.boot, host.cuts
        self._open = True
        self._lost = False
        fleet.open_connections += 1

    async def run(
        self,
        command: str,
        *,
        timeout: timedelta,
        privileged: bool = False,
        limit: int = DEFAULT_OUTPUT_LIMIT,
        input: bytes = b"",
    ) -> Completed:
        """See Remote."""
        kind = kind_of(command)
        if kind is Command.JOB:
            assert privileged, "only root may change packages"
            return self._about_a_job(command)
        if errors := self._host.fails.get(kind):
            self._require_link()
            self._host.ran.append(kind)
            raise errors.pop(0)
        if kind is Command.REBOOT and self._host.boot_id not in command:
            self._require_link()
            return Completed(exit_status=0, stdout=fake_answers.framed([]), stderr=b"")
        if kind is Command.REBOOT and self._host.swallows_reboot is not None:
            self._host.dark_until = self._fleet.clock.now() + self._host.swallows_reboot
            self._host.swallows_reboot = None
            self._host.ran.append(kind)
            self._lose()
        await self._begin(kind)
        if kind is Command.REBOOT:
            assert privileged, "only root may reboot"
            answer = fake_answers.order(self._host)
            if self._host.garbles is kind:
                self._host.garbles = None
                return Completed(exit_status=1, stdout=answer[: len(answer) // 2], stderr=b"")
            self._end(kind)
            return Completed(exit_status=0, stdout=answer, stderr=b"")
        answer = self._answer(kind, command)
        if self._host.garbles is kind:
            self._host.garbles = None
            return Completed(exit_status=255, stdout=answer[: len(answer) // 2], stderr=b"")
        self._end(kind)
        return Completed(exit_status=0, stdout=answer, stderr=b"")

    async def close(self) -> None:
        """See Remote."""
        if self._open:
            self._open = False
            self._fleet.open_connections -= 1

    def _about_a_job(self, command: str) -> Completed:
        self._require_link()
        self._host.job_requests += 1
        if self._host.jobs.lose_start and command.endswith(START):
            self._host.jobs.lose_start = False
            self._lose()
        answer, started = self._host.jobs.answer(command)
        if started is not None:
            self._end(started)
        return answer

    def _answer(self, kind: Command, command: str) -> bytes:
        host = self._host
        match kind:
            case Command.QUERY:
                return fake_answers.query(host, refresh="part refresh" in command)
            case Command.PREFLIGHT:
                return fake_answers.preflight(host)
            case Command.DRY_RUN:
                return fake_answers.dry_run(host)
            case Command.RESTART:
                return fake_answers.restart(host, command)
            case Command.LOGIN:
                return fake_answers.login(host)
            case Command.BOOT:
                return fake_answers.boot(host)
            case Command.GOING_DOWN:
                return fake_answers.going_down(host)
            case _:
                return fake_answers.units(host)

    async def _begin(self, kind: Command) -> None:
        assert self._open, "a closed connection was used"
        self._require_link()
        self._host.ran.append(kind)
        hold = self._host.holds.pop(kind, None)
        if hold is not None:
            await hold.wait()

    def _require_link(self) -> None:
        host = self._host
        known = (host.boot, host.cuts) == (self._boot, self._cuts)
        if self._lost or not host.answers or not known:
            self._lose()

    def _end(self, kind: Command) -> None:
        if self._host.cut_during is kind:
            self._host.cut_during = None
            self._lose()
        self._require_link()

    def _lose(self) -> NoReturn:
        self._lost = True
        raise LinkLost(
            host=self._target.host, address=self._target.address, problem="connection lost"
        )
