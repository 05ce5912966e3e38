"""When people are told of certificates that expire: each step once, for each certificate."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.access.certificate_expiry import (
    STEPS,
    CertificateExpiry,
    CertificateUse,
    ToldExpiries,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
END = NOW + timedelta(days=100)
HOURS = st.lists(st.integers(0, 130 * 24), max_size=30).map(sorted)


def expiry(expires_at: datetime | None = END, **how: str) -> CertificateExpiry:
    use = CertificateUse(how.get("use", CertificateUse.SERVER))
    return CertificateExpiry(use=use, file="/etc/tls/server.pem", expires_at=expires_at)


@given(HOURS)
def test_steps__are_told_once_each_and_never_before(hours: list[int]):
    told, at = ToldExpiries(), []
    for now in (NOW + timedelta(hours=hour) for hour in hours):
        due, told = told.due([expiry()], now)
        at += [now] * len(due)
    # The oracle: of the looks, the first one at or after each step; where one is the first for several, once.
    looks = [NOW + timedelta(hours=hour) for hour in hours]
    firsts = [next((now for now in looks if now >= END - step), None) for step in STEPS]
    assert at == sorted({now for now in firsts if now is not None})


def test_renewed_certificate__is_told_of_anew():
    soon, later = NOW + timedelta(days=5), NOW + timedelta(days=20)
    due, told = ToldExpiries().due([expiry(soon)], NOW)
    assert len(due) == 1
    due, told = told.due([expiry(later)], NOW)
    assert [one.expires_at for one in due] == [later]
    due, told = told.due([expiry(END)], NOW)
    assert (due, told) == ((), ToldExpiries())


def test_unreadable_certificate__is_told_of_once_it_can_be_read_and_not_twice():
    _, told = ToldExpiries().due([expiry(NOW)], NOW)
    due, told = told.due([expiry(None)], NOW)
    assert due == ()
    assert told.due([expiry(NOW)], NOW)[0] == ()


def test_certificates__are_told_of_one_by_one():
    both = [expiry(NOW + timedelta(days=30)), expiry(NOW + timedelta(days=24), use="client_ca")]
    due, told = ToldExpiries().due(both, NOW)
    assert len(due) == 2
    due, told = told.due(both, NOW + timedelta(days=20))
    assert [one.use for one in due] == [CertificateUse.CLIENT_CA]
    due, told = told.due(both, NOW + timedelta(days=23))
    assert [one.use for one in due] == [CertificateUse.SERVER]


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (timedelta(days=30), "of the server expires in 30 days, at 2026-03-31 12:00 UTC: /etc/tls"),
        (timedelta(hours=5), "expires in 0 days"),
        (timedelta(), "has expired, at 2026-03-01 12:00 UTC"),
    ],
)
def test_message__says_when_and_what_to_do(left: timedelta, words: str):
    text = expiry(NOW + left).message(NOW)
    assert words in text
    assert "tendhostd tls init" in text
