"""What a server passes on from hosts steers nobody's terminal: every command, with hostile text in every field."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import grpc
import pytest
import typer
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from tendhost.client.cli.app import app
from tendhost.v1 import operation_service_pb2
from tests.contract.client.messages import logged, operation, watched
from tests.contract.client.mock_server import SERVICES, MockServer, Refused
from tests.filled_messages import fill, variants

HOSTILE = "a\x1b]0;owned\x07b\x9b2Jc\x1b[5A\u202ed\x85e\rf\x08g\x7fh\x1bP1\u2028i"
"""Sequences that set a title, clear the screen, move the cursor and turn the reading order; C0 and C1 controls."""
_BY_RICH = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
_WORDS = {"address": ["--address", "10.0.0.5"], "waves": ["--waves", "1"]}
"""Options without which a command is refused by itself."""
_FURTHER = {
    "host set": ["--tag", "web"],
    "schedule create": ["--cron", "0 3 * * 6", "--waves", "1"],
    "schedule set": ["--cron", "0 3 * * 6"],
    "selection create": ["--tag", "web"],
    "selection set": ["--tag", "web"],
    "policy set": ["--group", "web", "--no-windows"],
    "policy delete": ["--group", "web"],
    "policy show": ["--group", "web"],
    "events": ["--since", "0"],
    "query": ["--part", "packages"],
    "rollout start": ["--follow"],
    "token create": ["--role", "viewer"],
}
"""What a command needs beside its arguments to ask the server something."""
_WITHOUT_SERVER = {"version", "context list", "context use", "context delete"}
_ARGUMENTS = {"wave": "1", "sql": "SELECT 1", "file": __file__}


def _commands() -> dict[str, list[str]]:
    """Every command of `tendhost`, with words that it accepts."""
    found: dict[str, list[str]] = {}

    def walk(command, path: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))
        if hasattr(command, "commands"):
            return
        words = list(path)
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                words.append(_ARGUMENTS.get(parameter.name, "web1"))
            elif parameter.required:
                words += _WORDS[parameter.name]
        name = " ".join(path)
        found[name] = words + _FURTHER.get(name, [])

    walk(typer.main.get_command(app), ())
    return found


COMMANDS = _commands()
_METHODS = tuple(method for service in SERVICES for method in service.methods)
_ENDED = ("SUCCEEDED", "COMPLETED", "FAILED")


def hostile(field: Any, *, failed: bool = False) -> Any:
    """Hostile text and bytes; of an enumeration something that has ended."""
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return HOSTILE
        case FieldDescriptor.TYPE_BYTES:
            return HOSTILE.encode()
        case FieldDescriptor.TYPE_BOOL:
            return field.name != "more"
        case FieldDescriptor.TYPE_ENUM:
            names = [value.name for value in field.enum_type.values]
            wanted = _ENDED[::-1] if failed else _ENDED
            ended = [name for end in wanted for name in names if name.endswith(f"_{end}")]
            values = field.enum_type.values_by_name
            return values[ended[0]].number if ended else field.enum_type.values[-1].number
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return 1.5
        case _:
            return 0 if field.name == "log_offset" else 3


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `tendhost login` would ask for."""
    monkeypatch.setenv("TENDHOST_TOKEN", "tend_x")


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    """One for all of these tests: each scripts every method."""
    with MockServer() as server:
        yield server


@cache
def _answers(method: MethodDescriptor, *, failed: bool) -> tuple[Message, ...]:
    kind = message_factory.GetMessageClass(method.output_type)
    answers = [
        fill(kind(), lambda field: hostile(field, failed=failed), variant=variant)
        for variant in range(variants(method.output_type))
    ]
    for answer in answers:
        if hasattr(answer, "next_page_token"):
            answer.next_page_token = ""
    return tuple(answers) if method.server_streaming else (answers[-1 if failed else 0],)


def _answer_everything(server: MockServer, *, failed: bool) -> None:
    server.calls.clear()
    for method in _METHODS:
        if method.server_streaming:
            server.stream(method.name, _answers(method, failed=failed))
        else:
            server.answer(method.name, *_answers(method, failed=failed))


def _unclean(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if not line.isprintable():
            yield line


@pytest.mark.parametrize("name", COMMANDS)
def test_command__prints_nothing_that_steers_a_terminal(tendhost, server, name):
    for output, failed in (("table", True), ("json", False)):
        _answer_everything(server, failed=failed)
        done = tendhost(*COMMANDS[name], "--output", output)
        assert done.out or done.err
        assert name in _WITHOUT_SERVER or any(server.calls.values()), done
        assert not list(_unclean(done.out + done.err))


@pytest.mark.parametrize("name", COMMANDS)
def test_command__prints_no_sequence_but_its_own_on_a_terminal(tendhost, server, name, monkeypatch):
    from tendhost.client.cli.console import console

    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "width", 100)
    _answer_everything(server, failed=False)
    done = tendhost(*COMMANDS[name])
    shown = done.out + done.err
    assert not any(sequence in shown for sequence in ("\x1b]0", "\x9b", "\x1b[5A", "\x1bP"))
    assert not list(_unclean(_BY_RICH.sub("", shown).replace("\r", "")))


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - _WITHOUT_SERVER))
def test_error_of_a_command__steers_no_terminal(tendhost, server, name):
    refused = Refused(
        code=grpc.StatusCode.INVALID_ARGUMENT,
        message=HOSTILE,
        reason="INVALID",
        metadata={"host": HOSTILE},
        violations=[("name", HOSTILE), (HOSTILE, HOSTILE)],
    )
    for method in _METHODS:
        if method.server_streaming:
            server.stream(method.name, [refused])
        else:
            server.answer(method.name, refused)
    done = tendhost(*COMMANDS[name])
    assert done.status == 2
    assert not list(_unclean(done.out + done.err))


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ([b"one\r", b"\ntwo\r\n"], "one\ntwo\n"),
        ([b"10 %\r20 %\r"], "10 %\n20 %\n"),
        ([b"\xc3", b"\xbcber\x1b[", b"2J\n"], "über�[2J\n"),
        ([b"\xff\xc3 cut"], "\ufffd\ufffd cut"),
    ],
)
def test_log__is_readable_whatever_a_host_prints(tendhost, server, printed, shown):
    _answer_everything(server, failed=False)
    ends = [sum(map(len, printed[:number])) for number in range(len(printed))]
    parts = [logged(at, data) for at, data in zip(ends, printed, strict=True)]
    ended = operation("SUCCEEDED", log_size=sum(map(len, printed)))
    server.answer("GetOperation", operation_service_pb2.GetOperationResponse(operation=ended))
    server.stream("WatchOperation", [*parts, watched(ended)])
    assert tendhost("operation", "log", "op1").out == shown


def test_raw_log__is_what_the_host_printed(tendhost, server):
    _answer_everything(server, failed=False)
    data = HOSTILE.encode()
    ended = operation("SUCCEEDED", log_size=len(data))
    server.answer("GetOperation", operation_service_pb2.GetOperationResponse(operation=ended))
    server.stream("WatchOperation", [logged(0, data), watched(ended)])
    assert tendhost("operation", "log", "op1", "--raw").out == HOSTILE
    assert tendhost("operation", "log", "op1", "--raw", "--output", "json").status == 2
