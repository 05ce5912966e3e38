"""Users' regular expressions: which are taken, which are refused with words, and what finding one costs."""

import pytest

from tendhost.server.domain.policy.health_checks import (
    HealthCheck,
    HealthChecks,
    HttpProbe,
    unusable,
)
from tendhost.server.domain.policy.patterns import (
    LONGEST_PATTERN,
    PatternUnusable,
    found_in,
    require_usable,
)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("is w[e]ll$", "all is well", True),
        ("^ok", "ok\n", True),
        ("^ok$", "not ok", False),
        ("(?i)READY", "ready", True),
        (r"\d+ré", "12ré", True),
        ("", "anything", True),
        ("(a+)+b", "a" * 65_536, False),
        ("((a{0,100}){0,9}b?)*c", "ab" * 32_768, False),
    ],
)
def test_pattern__is_found_or_not(pattern: str, text: str, found: bool) -> None:
    assert found_in(text, pattern) is found


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        "(?=a)",
        "(?<!a)b",
        "(unclosed",
        "[",
        "a{9999}",
        "((a{100}){100}){100}",
        "\ud800",
        "a" * (LONGEST_PATTERN + 1),
    ],
)
def test_pattern__that_cannot_be_matched_in_linear_time_is_refused_by_its_field(
    pattern: str,
) -> None:
    with pytest.raises(PatternUnusable, match="must be"):
        require_usable(pattern)
    check = HealthCheck(http=HttpProbe(url="http://{address}/", body=pattern))
    ((field, words),) = unusable(HealthChecks(checks=(check,)))
    assert field == "checks[0].http.body"
    assert "must be" in words
    assert len(words) < 1000
