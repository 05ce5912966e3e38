"""Servers that share a database: the short form, one fault of each party."""

import sys
from pathlib import Path

import pytest

from tests.faults.replicas.__main__ import main
from tests.faults.replicas.drill import drill
from tests.faults.replicas.witness import Witness, differences

SHORT = ("replica_killed", "failover")


def witness(*revisions: int, text: bytes = b"event") -> Witness:
    made = Witness("127.0.0.1:1")
    made.seen = {revision: text + b"%d" % revision for revision in revisions}
    return made


@pytest.mark.parametrize(
    ("witnesses", "words"),
    [
        ({"a": witness(1, 2, 3), "b": witness(1, 2, 3)}, []),
        ({"a": witness(1, 2, 3), "b": witness(1, 3)}, ["revision 2 is not known to ['b']"]),
        ({"a": witness(1, 3), "b": witness(1, 3)}, ["revision 2 is not known to ['a', 'b']"]),
        ({"a": witness(1), "b": witness(1, text=b"other")}, ["revision 1 differs"]),
    ],
)
def test_witnesses__contradict_each_other_where_they_do(
    witnesses: dict[str, Witness], words: list[str]
) -> None:
    assert differences(witnesses) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--replicas", "0"), "--replicas: 0 is too small"),
        (("--replicas", "-1"), "--replicas: -1 is too small"),
        (("--replicas", "three"), "--replicas: invalid count value: 'three'"),
        (("--runs", "0"), "--runs: 0 is too small"),
        (("--only", "flood"), "--only: invalid choice: 'flood'"),
    ],
)
def test_command__refuses_what_would_try_nothing(
    arguments: tuple[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a replica the drill would call the server that an empty address stands for: this machine's."""
    monkeypatch.setattr(sys, "argv", ["replicas", *arguments])
    monkeypatch.setattr("tests.faults.replicas.__main__.drill", None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_command__names_every_package_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without libfaketime a replica's clock would be right, and the faults of clocks none."""
    monkeypatch.setattr(sys, "argv", ["replicas"])
    monkeypatch.setattr("tests.fleet.requirements.LIBRARIES", Path("/nonexistent"))
    monkeypatch.setattr("tests.faults.replicas.__main__.missing_programs", lambda: ["patroni"])
    assert main() == 2
    assert "patroni libfaketime; `make packages` brings them" in capsys.readouterr().err


@pytest.mark.cluster
@pytest.mark.long
@pytest.mark.timeout(600)
async def test_short_form__finds_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    outcome = await drill(replicas=2, rounds=SHORT, seed=1, say=said.append, keep_logs=tmp_path)
    assert outcome.faults == len(SHORT)
    assert not outcome.counts, said
