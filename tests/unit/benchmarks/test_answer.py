"""The recorded answer that the benchmarks' hosts give is one that the server understands as a whole."""

from datetime import UTC, datetime

from benchmarks.endpoints import recorded_answer
from tendhost.server.domain.inventory.inventory import RebootNeed
from tendhost.server.packages.query import parse_query


def test_recorded_answer_is_understood_without_problems():
    result = parse_query(recorded_answer(), at=datetime(2026, 11, 1, tzinfo=UTC))
    assert result.problems == ()
    assert result.inventory.system.os_name == "Debian GNU/Linux 12 (bookworm)"
    assert len(result.inventory.installed) == 300
    assert (result.pending.count, result.pending.security_count) == (24, 6)
    assert result.reboot.need is RebootNeed.NOT_NEEDED
