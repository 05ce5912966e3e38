"""Servers that share a database: the short form, one fault of each party."""

from pathlib import Path

import pytest

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


@pytest.mark.cluster
@pytest.mark.long
@pytest.mark.timeout(600)
async def test_short_form__finds_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    outcome = await drill(replicas=2, rounds=SHORT, seed=1, say=said.append, keep_logs=tmp_path)
    assert outcome.faults == len(SHORT)
    assert not outcome.counts, said
