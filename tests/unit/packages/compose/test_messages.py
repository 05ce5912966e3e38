"""What is told of messages of docker: nothing that may be a value of a project."""

import re
import subprocess
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.packages.compose.messages import _OPTIONS, _PHRASES, RETELLING
from tests.tools import SHELLS
from tests.unit.packages.compose.recordings import RECORDED, VERSIONS

REFERENCES = "registry.example.org/app:1 nginx:1.27"
ONLY_WARNINGS = {
    "v1": {"cmd", "dollar", "dotenv2", "dup", "img", "net", "num", "secret"},
    "v2": {"dollar", "img", "label2", "tag"},
}
TEXTS = [(phrase.partition("|")[2] or phrase) for phrase in _PHRASES]
TOLD = re.compile(
    rf"(?:(?:{'|'.join(map(re.escape, REFERENCES.split()))}|registry\.example\.org): )?"
    rf"(?:(?:services\.web\.)?(?:{_OPTIONS}): )?(?:line \d+: )?"
    rf"(?:{'|'.join(map(re.escape, TEXTS))})(?: in line \d+)?"
)


def told(message: str, shell: tuple[str, ...] = ("sh",)) -> list[str]:
    script = f"{RETELLING}\nrefs='{REFERENCES}'\ntold"
    done = subprocess.run(
        [*shell, "-c", script], input=message.encode(), capture_output=True, check=True
    )
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


@cache
def messages(version: str) -> dict[str, str]:
    """The recorded message of each mistake."""
    text = (RECORDED / version / "messages.txt").read_text(encoding="utf-8")
    blocks = text.split("== ")[1:]
    return dict(block.split(": ", 1) for block in blocks)


@pytest.mark.parametrize("version", VERSIONS)
def test_message__of_every_mistake_is_told_without_its_value(version: str) -> None:
    found = {name: told(text) for name, text in messages(version).items()}
    assert {name for name, lines in found.items() if not lines} == ONLY_WARNINGS[version]
    for line in (line for lines in found.values() for line in lines):
        assert TOLD.fullmatch(line), line
        assert "hunter" not in line


@given(
    message=st.sampled_from([text for v in VERSIONS for text in messages(v).values()]),
    value=st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        st.sampled_from(
            ["services.key.command", "line 4711: ", "a: EOF", "registry.example.org", "$(id) `id`"]
        ),
    ),
)
@settings(max_examples=60, deadline=None)
def test_message__consists_of_known_phrases_whatever_the_value(message: str, value: str) -> None:
    for line in told(re.sub("hunter[23]", lambda _: value, message)):
        assert TOLD.fullmatch(line), line


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            'Error response from daemon: Get "http://registry.example.org/v2/": dial tcp'
            " registry.example.org: connect: connection refused",
            ["registry.example.org: connection refused"],
        ),
        (
            "app Pulling\nError response from daemon: toomanyrequests: You have reached your pull"
            " rate limit. https://user:hunter2@registry.example.org",
            ["registry.example.org: 429 Too Many Requests"],
        ),
        (
            "Error response from daemon: manifest for nginx:1.27 not found: manifest unknown",
            ["nginx:1.27: manifest unknown"],
        ),
        (
            "Error response from daemon: failed to create task for container: OCI runtime create"
            ' failed: runc create failed: exec: "--password=hunter2": executable file not found',
            ["executable file not found"],
        ),
        (
            "Error response from daemon: error while mounting volume: failed to mount local volume:"
            " mount //nas/x:/var/lib/docker/volumes/x: data: username=a,password=hunter2:"
            " permission denied",
            ["permission denied"],
        ),
        (
            'Error response from daemon: invalid environment variable: hunter2="\n',
            [],
        ),
        (
            "error during connect: Get https://root:hunter2@10.0.0.1/: EOF",
            ["the connection ended early"],
        ),
    ],
)
def test_message__of_a_daemon_names_images_and_registries_only(
    message: str, expected: list[str]
) -> None:
    assert told(message) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_message__is_told_alike_by_every_shell(shell: tuple[str, ...]) -> None:
    text = "\n".join(messages("v1").values())
    assert told(text, shell) == told(text)
