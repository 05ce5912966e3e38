"""Certificates of the server that expire: when people are told, and that each time is told once."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

STEPS = (timedelta(days=30), timedelta(days=7), timedelta())
"""How long before the expiry people are told; the last time, the certificate has expired."""


class CertificateUse(StrEnum):
    """What the server uses a certificate for."""

    SERVER = "server"
    """It shows it to clients."""
    CLIENT_CA = "client_ca"
    """It is the CA of the certificates of clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateExpiry:
    """A certificate that the server uses, and when it expires."""

    use: CertificateUse
    file: str
    expires_at: datetime | None = None
    """None: it cannot be read."""
    valid_from: datetime | None = None
    problem: str = ""
    """Why it cannot be read, or is not valid yet; empty: neither."""

    def judged(self, now: datetime) -> "CertificateExpiry":
        """With the problem that it is not valid yet, if that is so."""
        if self.valid_from is None or self.valid_from <= now:
            return self
        return replace(self, problem=not_valid_yet(self.valid_from, now))

    def message(self, now: datetime) -> str:
        """For people: when it expires, and what to do. Only where that is known."""
        assert self.expires_at is not None, "what cannot be read has no expiry to tell of"
        whose = (
            "the server" if self.use is CertificateUse.SERVER else "the CA of client certificates"
        )
        left = self.expires_at - now
        when = f"expires in {left.days} days" if left > timedelta() else "has expired"
        return (
            f"the certificate of {whose} {when}, at {self.expires_at:%Y-%m-%d %H:%M} UTC: {self.file};"
            f" {_REMEDY[self.use]}"
        )


def not_valid_yet(valid_from: datetime, now: datetime) -> str:
    """Why clients refuse a certificate that becomes valid later, as text."""
    return (
        f"it is not valid before {valid_from:%Y-%m-%d %H:%M} UTC, and the clock of the server says"
        f" {now:%Y-%m-%d %H:%M} UTC; set the clock, or replace the certificate"
    )


_REMEDY = {
    CertificateUse.SERVER: "replace it, or renew that of the server's own CA: tendhostd tls init",
    CertificateUse.CLIENT_CA: "replace it, and issue new client certificates: tendhostd tls client NAME",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldExpiry:
    """What was told of one certificate."""

    use: CertificateUse
    expires_at: datetime
    """By which a renewed certificate is known to be another one."""
    step: timedelta
    """The last of STEPS that was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldExpiries:
    """What was told of the present certificates."""

    told: tuple[ToldExpiry, ...] = ()

    def due(
        self, expiries: Iterable[CertificateExpiry], now: datetime
    ) -> tuple[tuple[CertificateExpiry, ...], "ToldExpiries"]:
        """What is to be told now, and what was told then. Of steps that were missed only the last is told."""
        due, told = [], []
        for expiry in expiries:
            former = next((one for one in self.told if one.use is expiry.use), None)
            step = step_of(expiry.expires_at, now)
            if expiry.expires_at is None or step is None:
                # Unreadable for a while: what was told of it stays told.
                told += [former] if former is not None and expiry.expires_at is None else []
                continue
            same = former is not None and former.expires_at == expiry.expires_at
            if former is not None and same and former.step <= step:
                told.append(former)
                continue
            due.append(expiry)
            told.append(ToldExpiry(use=expiry.use, expires_at=expiry.expires_at, step=step))
        return tuple(due), ToldExpiries(told=tuple(told))


def step_of(expires_at: datetime | None, now: datetime) -> timedelta | None:
    """The last of STEPS that is reached; None: none is, or the expiry is not known."""
    if expires_at is None:
        return None
    return min((step for step in STEPS if expires_at - now <= step), default=None)
