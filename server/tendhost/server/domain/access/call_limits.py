"""Limits of calls: how much each principal may ask of the server, so that none makes the server slow for others.

Calls are paid for in nanoseconds of the server's event loop, which serves everybody. A call costs CALL_COST when it
begins, and what it takes beyond that while it runs.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from tendhost.server.domain.access.principal import CredentialKind, Principal

CALL_COST = 1_000_000
"""Nanoseconds that a call costs at least: reading one host takes about half of it."""
LONGEST_WAIT = timedelta(seconds=1)
"""Calls beyond the rate wait for so long at most, in their order; further ones are refused."""
LONGEST_DEBT = timedelta(seconds=5)
"""What calls have cost beyond what was left is forgotten beyond this, so that the next one begins within it."""
STRANGER_PART = 5
"""How many times less may be asked from an address without a credential: only the health, and to be refused."""
LOCAL_FACTOR = 20
"""How many times as much the local admin may ask, who could stop the server as well."""
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many calls may begin: `burst` at once, and `per_second` in the long run."""

    per_second: int
    burst: int

    @property
    def most_waiting(self) -> int:
        """How many calls may wait for their turn: those that begin within LONGEST_WAIT."""
        return max(1, self.per_second * (LONGEST_WAIT // timedelta(seconds=1)))

    def times(self, factor: int) -> "Rate":
        """The rate for whoever may ask `factor` times as much."""
        return Rate(per_second=self.per_second * factor, burst=self.burst * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What one principal may ask of the server."""

    calls: Rate = Rate(per_second=150, burst=100)
    """Calls of all kinds; a call that keeps the event loop for longer than CALL_COST counts as several. So by default
    a principal has at most a seventh of the loop's time, beside what gRPC takes for itself. The burst is a page of a
    thousand hosts, about."""
    mutations: Rate = Rate(per_second=50, burst=100)
    """Calls that change something; they count as calls, too."""
    streams: int = 64
    """Open streams."""
    at_once: int = 8
    """Calls that are carried out at the same time; those that wait for a host or for an operation do not count."""
    open_calls: int = 2_000
    """Calls without an answer so far, also those that wait for their turn."""

    def of(self, principal: Principal) -> "CallLimits":
        """The limits of this principal."""
        if not principal.name and not principal.roles:
            slower = max(1, self.calls.per_second // STRANGER_PART)
            return replace(self, calls=replace(self.calls, per_second=slower))
        if not is_local_admin(principal):
            return self
        return replace(
            self,
            calls=self.calls.times(LOCAL_FACTOR),
            mutations=self.mutations.times(LOCAL_FACTOR),
            streams=self.streams * LOCAL_FACTOR,
            at_once=self.at_once * LOCAL_FACTOR,
            open_calls=self.open_calls * LOCAL_FACTOR,
        )


def is_local_admin(principal: Principal) -> bool:
    """Whether a principal is known by the server's own machine: it uses the unix socket, or no credential is needed."""
    # Without a credential roles are only given where none is needed, on loopback and unix sockets.
    unneeded = principal.kind is CredentialKind.NONE and bool(principal.roles)
    return principal.kind is CredentialKind.SOCKET or unneeded


def account_of(principal: Principal) -> tuple[str, str]:
    """What a principal's calls are counted by: its name, or its address if nothing shows that the name is its own."""
    if principal.kind is CredentialKind.NONE or not principal.name:
        return "address", principal.address
    # The owner of the socket is another principal than a token of the same name.
    return "socket" if principal.kind is CredentialKind.SOCKET else "name", principal.name


class Allowance:
    """How much may be spent now: it grows with time up to the burst. What was not foreseen makes it a debt."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._most = rate.burst * CALL_COST
        self._least = -rate.per_second * CALL_COST * (LONGEST_DEBT // timedelta(seconds=1))
        self._left = self._most
        self._at: timedelta | None = None

    def wait(self, elapsed: timedelta, cost: int = CALL_COST) -> timedelta:
        """The time from `elapsed` on until there is `cost`, if nothing is spent meanwhile; zero: there is now."""
        lacking = cost - self._grown(elapsed)
        if lacking <= 0:
            return timedelta()
        # In whole numbers and rounded up, so that the call may really begin after this time.
        return -(-lacking // self._growth) * MICROSECOND

    def spend(self, elapsed: timedelta, cost: int = CALL_COST) -> None:
        """Spend `cost` nanoseconds, also where there are fewer."""
        self._left = max(self._least, self._grown(elapsed) - cost)

    def full(self, elapsed: timedelta) -> bool:
        """Whether nothing is known of a principal that a new allowance would not know."""
        return self._grown(elapsed) == self._most

    @property
    def _growth(self) -> int:
        """Nanoseconds that a microsecond adds."""
        return self._rate.per_second * CALL_COST // 1_000_000

    def _grown(self, elapsed: timedelta) -> int:
        passed = 0 if self._at is None else max(0, (elapsed - self._at) // MICROSECOND)
        self._at = elapsed if self._at is None else max(self._at, elapsed)
        self._left = min(self._most, self._left + passed * self._growth)
        return self._left
