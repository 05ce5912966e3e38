"""The targets of the fuzzing: parsers, each with what it may raise and inputs to begin with.

What reads the output of a host is found by its signature, so that a new parser is a target by itself.
"""

import asyncio
import dataclasses
import importlib
import inspect
import pkgutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

from tendhost.server import packages
from tendhost.server.config import SettingError, load_settings
from tendhost.server.domain.bounds import bounded_as
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.hosts.host_keys import expected_keys
from tendhost.server.domain.notifications.templates import template
from tendhost.server.domain.policy.patterns import PatternUnusable, found_in
from tendhost.server.domain.request_errors import InvalidArgument
from tendhost.server.domain.schedules.recurrence import anchored, unsound_recurrence, upcoming
from tendhost.server.packages.detection import PACKAGE_MANAGERS
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.package_manager import PackageManager
from tendhost.server.packages.query import QueryOptions
from tendhost.server.remote.job import Job, JobReport, Position, poll
from tendhost.server.remote.protocol import Completed
from tendhost.server.remote.shell import BEGIN, NoiseTooLong, ScriptOutput
from tendhost.server.remote.ssh_offer import NoOffer, offer_of
from tendhost.server.rpc.paging import number, position, token
from tendhost.server.rpc.rules import violations_of
from tendhost.v1 import host_service_pb2, schedule_service_pb2

AT = datetime(2027, 1, 2, 3, 4, tzinfo=UTC)
RECORDED = Path(__file__).parents[1] / "unit" / "packages"
MOST_SEEDS = 40


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser."""

    read: Callable[[bytes], object]
    raises: tuple[type[Exception], ...]
    """What it may raise; anything else is a fault."""
    seeds: tuple[bytes, ...] = ()

    def __call__(self, data: bytes) -> None:
        """Read `data`. Raises what the parser must not raise."""
        with suppress(*self.raises):
            self.read(data)


# --- what hosts print -----------------------------------------------------------------------------

_GIVEN: Mapping[str, Any] = {
    "at": AT,
    "options": QueryOptions(),
    "units": ("ssh.service", "cron.service"),
    "projects": (),
    "timeout": timedelta(seconds=5),
    "took": timedelta(seconds=1),
    "exit_status": 1,
    "expected": (),
}
"""The other arguments of parsers, by name."""


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in pkgutil.walk_packages(packages.__path__, f"{packages.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            public = inspect.isfunction(value) and not name.startswith("_")
            if public and value.__module__ == module.name:
                yield f"{module.name.partition('packages.')[2]}.{name}", value
    for manager in PACKAGE_MANAGERS:
        for name in ("parse_plan", "failure", "kept_conffiles", "saved_conffiles"):
            yield f"{manager.name}.{name}", getattr(manager, name)


def _reader(function: Callable[..., Any]) -> Callable[[bytes], object] | None:
    """What gives bytes to a function that takes the output of a host; None for any other one."""
    parameters = inspect.signature(function).parameters
    kind = get_type_hints(function).get("output")
    if kind not in (bytes, str):
        return None
    wanted = [n for n, p in parameters.items() if n != "output" and p.default is p.empty]
    if wanted and not set(wanted) <= _GIVEN.keys():
        assert kind is str, f"no value for {wanted}"
        return None  # a part of what reads a log, and reached by `failure`
    given = {name: _GIVEN[name] for name in wanted}
    returned = get_type_hints(function)["return"]

    def read(data: bytes) -> None:
        said = data if kind is bytes else data.decode("utf-8", "replace")
        found = function(**given, output=said)
        if getattr(function, "bounded", False):
            assert bounded_as(returned, found) == found, "beyond the bounds"

    return read


def _recorded(*endings: str) -> tuple[bytes, ...]:
    files = sorted(path for path in RECORDED.rglob("*") if path.suffix in endings)
    step = max(1, len(files) // MOST_SEEDS)
    return tuple(path.read_bytes() for path in files[::step])


def _hosts() -> Iterator[tuple[str, Target]]:
    outputs, logs = _recorded(".out"), _recorded(".log", ".status")
    for name, function in _functions():
        read = _reader(function)
        if read is not None:
            seeds = outputs if "parse" in name else logs
            yield name, Target(read=read, raises=(PackageError,), seeds=seeds)
    for manager in PACKAGE_MANAGERS:
        yield f"{manager.name}.progress", Target(read=_progress(manager), raises=(), seeds=logs)


def _progress(manager: PackageManager) -> Callable[[bytes], object]:
    return lambda data: manager.progress_parser().feed(data)


class _Answers:
    """A connection to a host that answers every command alike."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    async def run(self, command: str, **how: Any) -> Completed:
        del command, how
        return Completed(exit_status=0, stdout=self._said, stderr=b"")


def _job(data: bytes) -> JobReport:
    job: Any = Job(
        host="web1",
        operation="op",
        kind="upgrade",  # type: ignore[arg-type]
        number=1,
        epoch=1,
        command="true",
        limit=timedelta(1),
    )
    remote: Any = _Answers(data)
    return asyncio.run(poll(remote, job, Position()))


def _shell(data: bytes) -> None:
    said = bytearray()
    output = ScriptOutput(said.extend, lambda _: None)
    middle = len(data) // 2
    for part in (data[:middle], data[middle:]):
        output.stdout(part)
        output.stderr(part)
    output.flush()
    assert output.status is None or 0 <= output.status <= 999
    output.words()


def _offer(data: bytes) -> None:
    async def asked() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            theirs.send(data[:60_000])
            theirs.shutdown(socket.SHUT_WR)
            await offer_of(ours)

    asyncio.run(asked())


# --- what clients and administrators write ---------------------------------------------------------


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _recurrence(*, cron: str = "", rrule: str = "", time_zone: str = "Europe/Berlin") -> None:
    if not unsound_recurrence(cron=cron, rrule=rrule, time_zone=time_zone):
        made = anchored(cron=cron, rrule=rrule, time_zone=time_zone, start=None, now=AT)
        upcoming(made, AT, 3)


def _page(data: bytes) -> None:
    request = host_service_pb2.ListHostsRequest()
    text = _text(data)
    position(request, text)
    # A client can make a token that fits the list: it holds no secret.
    number(position(request, token(request, text)), default=0)


def _config(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        load_settings(file=Path(file.name), environment={"HOME": "/nonexistent"}, options={})


def _environment(data: bytes) -> None:
    name, _, value = _text(data).replace("\0", "").partition("=")
    environment = {f"TENDHOST_{name}": value, "HOME": "/nonexistent"}
    load_settings(file=None, environment=environment, options={})


def _request(kind: Any) -> Callable[[bytes], object]:
    def read(data: bytes) -> None:
        request = kind()
        try:
            request.ParseFromString(data)
        except Exception:
            return  # which gRPC itself refuses
        violations_of(request)

    return read


def _pattern(data: bytes) -> None:
    pattern, _, text = _text(data).partition("\n")
    found_in(text, pattern)


def _users() -> Iterator[tuple[str, Target]]:
    refused: tuple[type[Exception], ...] = (InvalidArgument,)
    crons = (b"0 3 * * 6", b"*/5 1-4,7 L * MON#2", b"@daily", b"0 0 29 2 *")
    rules = (
        b"FREQ=MONTHLY;BYDAY=4TU;BYHOUR=3;BYMINUTE=0",
        b"FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,SU;UNTIL=20300101T000000Z",
        b"FREQ=YEARLY;BYWEEKNO=-1;BYSETPOS=-1;BYDAY=MO;COUNT=3",
    )
    yield "cron", Target(read=lambda d: _recurrence(cron=_text(d)), raises=refused, seeds=crons)
    yield "rrule", Target(read=lambda d: _recurrence(rrule=_text(d)), raises=refused, seeds=rules)
    yield (
        "time_zone",
        Target(
            read=lambda d: _recurrence(cron="0 3 * * 6", time_zone=_text(d)),
            raises=refused,
            seeds=(b"Europe/Berlin", b"../../etc/passwd", b"UTC"),
        ),
    )
    request = host_service_pb2.ListHostsRequest()
    tokens = (token(request, "web1").encode(), token(request, "-3").encode())
    yield "page_token", Target(read=_page, raises=(TendhostError,), seeds=tokens)
    settings = (
        b'listen = "127.0.0.1:0"\nattempts = 3\n[[notify]]\nname = "a"\nurls = ["x://y"]\n',
    )
    yield "configuration", Target(read=_config, raises=(SettingError,), seeds=settings)
    variables = (b"ATTEMPTS=3", b"SSH_KEY=YQ==", b"LISTEN=[::1]:5", b"LOG_LEVEL=info")
    yield "environment", Target(read=_environment, raises=(SettingError,), seeds=variables)
    keys = (
        b"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        b"|1|a=|b= ssh-rsa AAAA",
        b"x IN SSHFP 4 2 00",
    )
    yield (
        "host_key",
        Target(read=lambda d: expected_keys(_text(d), ("web1",)), raises=(ValueError,), seeds=keys),
    )
    yield (
        "template",
        Target(
            read=lambda d: template(_text(d), setting="title"),
            raises=(TendhostError,),
            seeds=(b"{host} {problem}", b"{host.__class__}", b"{0!r:>9}"),
        ),
    )
    yield "pattern", Target(read=_pattern, raises=(PatternUnusable,), seeds=(b"(a+)+b\naaaa",))
    for name, kind in (
        ("register_request", host_service_pb2.RegisterHostRequest),
        ("reconfigure_request", host_service_pb2.ReconfigureHostRequest),
        ("schedule_request", schedule_service_pb2.CreateScheduleRequest),
    ):
        yield name, Target(read=_request(kind), raises=())


def _machines() -> Iterator[tuple[str, Target]]:
    report = b"tendhost-job ended 0 same 0 3 0 0 all\nlog"
    yield "job", Target(read=_job, raises=(TendhostError,), seeds=(report,))
    said = b"banner\n" + BEGIN + b"out\n\x1etendhost-sh end 3\n"
    yield "shell", Target(read=_shell, raises=(NoiseTooLong,), seeds=(said,))
    offer = b"SSH-2.0-x\r\n\0\0\0\x30\x04\x14" + b"c" * 16 + 3 * b"\0\0\0\x04abcd"
    yield "ssh_offer", Target(read=_offer, raises=(NoOffer, OSError), seeds=(offer,))


def _all(*parts: Iterable[tuple[str, Target]]) -> dict[str, Target]:
    return {name: target for part in parts for name, target in part}


TARGETS = _all(_hosts(), _machines(), _users())
