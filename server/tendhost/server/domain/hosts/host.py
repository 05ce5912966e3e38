"""A host: its configuration, its status, and the changes of its state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.bounds import text
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.etags import etag_of
from tendhost.server.domain.host_errors import LOGIN_ERRORS
from tendhost.server.domain.hosts.address import network_address
from tendhost.server.domain.hosts.pinned_keys import Pins
from tendhost.server.domain.hosts.states import HostState, Trigger, after, allowed_from
from tendhost.server.domain.inventory.compose import ComposeVersion
from tendhost.server.domain.inventory.inventory import Observation, Reboot, RebootNeed
from tendhost.server.domain.inventory.scope import UpdateScope
from tendhost.server.domain.policy.availability import planned_time
from tendhost.server.domain.policy.health_checks import HealthChecks
from tendhost.server.domain.policy.hooks import Hooks
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.request_errors import HostFailed, InvalidTransition, OnlyJump


class AfterInterruption(StrEnum):
    """What to do about an upgrade that was interrupted on the host, by a power cut for example."""

    UPGRADE = "upgrade"
    """Repair the packages, and start the upgrade again."""
    REPAIR = "repair"
    """Repair the packages, and leave the rest to a person."""


class RestartServices(StrEnum):
    """What to do about services that still run files which an update has replaced."""

    NEVER = "never"
    """They are listed only."""
    RESTART = "restart"
    """They are restarted, unless the host is rebooted."""
    REBOOT = "reboot"
    """They count as a reason to reboot."""


class Snapshots(StrEnum):
    """Whether to make a file system snapshot before a host is changed."""

    NEVER = "never"
    IF_POSSIBLE = "if_possible"
    REQUIRED = "required"
    """A host that cannot make one is not updated."""


class Rollback(StrEnum):
    """Whether to roll back an update automatically."""

    NEVER = "never"
    UNHEALTHY = "unhealthy"
    """When the host is unhealthy after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy of one host: when and how tendhost may change it."""

    auto_reboot: bool | None = None
    """Whether an update may reboot the host; None: yes, unless it is the machine of the server."""
    windows: tuple[MaintenanceWindow, ...] = ()
    """The host may be changed in any of these windows; empty: inherited from its groups and the fleet."""
    after_interruption: AfterInterruption = AfterInterruption.UPGRADE
    scope: UpdateScope = UpdateScope()
    """Which pending updates to take, unless a request overrides it."""
    restart_services: RestartServices = RestartServices.NEVER
    snapshots: Snapshots = Snapshots.NEVER
    rollback: Rollback = Rollback.NEVER
    hooks: Hooks = Hooks()
    health_checks: HealthChecks = HealthChecks()


LOCAL = "local"
"""The address of the server's own machine."""
COMPOSE_HEALTH_TIMEOUT = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """The configuration of a host."""

    name: str
    address: str
    port: int = 22
    user: str = "root"
    ssh_key: str = ""
    """Path of a private key on the server; empty: `TENDHOST_SSH_KEY`, or without that the agent."""
    jump: str = ""
    """Name of the registered host through which it is reached (ssh(1), ProxyJump); empty: directly."""
    jump_only: bool = False
    """Whether it is registered only as a jump: it is neither queried nor changed, nor a part of rollouts."""
    compose_paths: tuple[str, ...] = ()
    """Folders of its compose projects."""
    compose_version: ComposeVersion = ComposeVersion.AUTO
    pull_before_update: bool = True
    """Whether to pull images; without that, only images that are on the host are used."""
    compose_health_timeout: timedelta = COMPOSE_HEALTH_TIMEOUT
    """Time for every service of a project to become healthy, after which the former images are restored."""
    compose_prune: bool = False
    """Whether to remove images that an update has replaced."""
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    policy: Policy = Policy()

    @property
    def endpoint(self) -> str:
        """Address, port and jump; two hosts with the same endpoint are the same machine.

        Behind each jump there are addresses of its own.
        """
        if self.address == LOCAL:
            return LOCAL
        try:
            address = self.network_address
        except ValueError:
            address = self.address  # only requests are validated: the store takes any value
        through = f" {self.jump}" if self.jump else ""
        return f"{address.lower()} {self.port}{through}"

    @property
    def network_address(self) -> str:
        """The address as the resolver takes it. See domain/hosts/address."""
        return network_address(self.address)

    @property
    def may_reboot(self) -> bool:
        """Whether the policy allows a reboot; for the server's own machine it must say so."""
        named = self.policy.auto_reboot
        return self.address != LOCAL if named is None else named


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as it is stored: a reason for programs, a message for people, and facts for both."""

    reason: str
    message: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: TendhostError) -> "Problem":
        """The stored form of `error`."""
        facts = {name: text(fact) for name, fact in error.facts().items()}
        return cls(reason=error.reason, message=text(str(error)), facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a host is in FAILED, and who has acknowledged that."""

    previous_state: HostState
    step: str
    problem: Problem
    failed_at: datetime
    retry_count: int
    """Number of retries before this failure."""
    operation: str = ""
    """Id of the operation that failed, which a retry continues."""
    at_login: bool = False
    """Whether nothing was done on the host, because the login failed: other settings of the login end the failure."""
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Another registered host that is, or may be, the same machine, and what both have in common."""

    host: str
    host_key: bool
    address: bool
    """Whether both have the same address and port."""
    machine_id: bool
    """Whether both have the same machine-id, as one machine or copies of one have."""

    @property
    def words(self) -> str:
        """What both have in common, in words."""
        same = (
            ("host key", self.host_key),
            ("address", self.address),
            ("machine-id", self.machine_id),
        )
        return " and ".join(words for words, holds in same if holds)


MOST_DUPLICATES = 16
"""Duplicates in the status of a host. A fleet of copies of one image may have thousands."""


def most_alike(found: Iterable[Duplicate]) -> tuple[Duplicate, ...]:
    """The MOST_DUPLICATES that are most surely the same machine, each once, ordered by that and by name."""
    by_name = {duplicate.host: duplicate for duplicate in found}
    alike = sorted(by_name.values(), key=lambda one: (not (one.host_key or one.address), one.host))
    return tuple(alike[:MOST_DUPLICATES])


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """The status of a host."""

    state: HostState = HostState.IDLE
    pending_count: int = 0
    pending_security_count: int | None = 0
    """None: the host's archives do not say which updates are security updates."""
    queried_at: datetime | None = None
    reboot: Reboot = Reboot()
    boot_id: str = ""
    os_name: str = ""
    healthy: bool | None = None
    """Result of the last check; None: never checked."""
    last_updated: datetime | None = None
    """End of the last successful update. A dry run does not count."""
    update_took: timedelta | None = None
    """Duration of that update."""
    last_problem: Problem | None = None
    """Problem of the last operation; None: it succeeded."""
    failure: Failure | None = None
    """Why the host is in FAILED; None in other states."""
    retry_count: int = 0
    """Number of retries since the last success."""
    machine_id: str = ""
    """The latest machine-id of the host; empty: unknown."""
    duplicate_of: tuple[Duplicate, ...] = ()
    """Other names of the same machine, as of the last query; see `most_alike`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A registered machine. `revision` is the fleet's revision at which it last changed."""

    config: HostConfig
    host_key: str
    """The pinned public key, as in authorized_keys(5): type and base64."""
    registered_at: datetime
    status: HostStatus = HostStatus()
    revision: int = 0
    further_host_keys: tuple[str, ...] = ()
    """Other public keys that the host may show as well, in the order in which a login asks for their kinds."""
    certified: bool = False
    """Whether the host shows a certificate of a host authority, and no key counts without one; see Pins."""

    @property
    def host_keys(self) -> tuple[str, ...]:
        """Every pinned public key, `host_key` first."""
        return (self.host_key, *self.further_host_keys)

    @property
    def pins(self) -> Pins:
        """What the host must show."""
        return Pins(keys=self.host_keys, certified=self.certified)

    def pinned(self, pins: Pins) -> "Host":
        """The host that must show these."""
        return replace(
            self,
            host_key=pins.keys[0],
            further_host_keys=pins.keys[1:],
            certified=pins.certified,
        )

    @property
    def planned_update(self) -> timedelta:
        """Planned duration of an update: that of the last successful one, in whole minutes."""
        return planned_time(self.status.update_took)

    @property
    def name(self) -> str:
        """The name under which the host is registered."""
        return self.config.name

    @property
    def etag(self) -> str:
        """Changes with the configuration and the pinned keys, not with the status."""
        return etag_of(self.config, *self.host_keys, *(["certified"] if self.certified else []))

    def after(self, trigger: Trigger) -> "Host":
        """The host after `trigger`. Raises InvalidTransition."""
        state = after(self.status.state, trigger, host=self.name)
        return self._with(state=state)

    def settled(self) -> "Host":
        """The host in the resting state that follows from its facts. Raises InvalidTransition."""
        return self.after(self.resting_trigger)

    @property
    def resting_trigger(self) -> Trigger:
        """The trigger to the resting state that follows from the facts."""
        if self.status.pending_count:
            return Trigger.UPDATES_PENDING
        if self.status.reboot.need is RebootNeed.NEEDED:
            return Trigger.REBOOT_DUE
        return Trigger.NOTHING_PENDING

    def observed(self, seen: Observation, now: datetime) -> "Host":
        """The host with the facts of an observation; its state stays."""
        former = self.status.reboot
        reboot = seen.reboot or former
        boot_id = seen.inventory.system.boot_id
        if reboot.need is RebootNeed.NEEDED:
            reboot = replace(reboot, since=former.since or now)
            again = former.need is RebootNeed.NEEDED and former.reason == reboot.reason
            if again and self.status.boot_id not in ("", boot_id):
                # Another reboot would have the same result as the one before.
                words = f"{reboot.reason}, after a reboot just as before it"
                reboot = Reboot(need=RebootNeed.UNKNOWN, reason=words)
        observed = self._with(
            reboot=reboot,
            boot_id=boot_id,
            os_name=seen.inventory.system.os_name,
            machine_id=seen.inventory.system.machine_id or self.status.machine_id,
        )
        if seen.pending.queried_at is None:
            return observed  # pending updates are unknown, which does not mean that there are none
        return observed._with(
            pending_count=seen.pending.count,
            pending_security_count=seen.pending.security_count,
            queried_at=seen.pending.queried_at,
        )

    def resembling(self, duplicates: tuple[Duplicate, ...]) -> "Host":
        """The host with its duplicates."""
        return self._with(duplicate_of=duplicates)

    def checked(self, *, healthy: bool) -> "Host":
        """The host with the result of a check."""
        return self._with(healthy=healthy)

    def reboot_ordered(self, *, reason: str, now: datetime) -> "Host":
        """The host with a needed reboot that a user has requested, unless it needs one already."""
        if self.status.reboot.need is RebootNeed.NEEDED:
            return self
        return self._with(reboot=Reboot(need=RebootNeed.NEEDED, reason=reason, since=now))

    @property
    def unheard_of(self) -> bool:
        """Whether the host was never queried, or could not be reached at the last contact."""
        return self.status.queried_at is None or self.is_away(*LOGIN_ERRORS)

    def is_away(self, *reasons: str) -> bool:
        """Whether the host could not be reached at the last contact, for one of `reasons`."""
        problem = self.status.last_problem
        return problem is not None and problem.reason in LOGIN_ERRORS and problem.reason in reasons

    def succeeded(
        self, *, updated_at: datetime | None, update_took: timedelta | None = None
    ) -> "Host":
        """The host after a successful operation; `updated_at` is set after an update."""
        return self._with(
            last_updated=updated_at or self.status.last_updated,
            update_took=update_took or self.status.update_took,
            last_problem=None,
            retry_count=0,
        )

    def troubled(self, problem: Problem) -> "Host":
        """The host after an operation that failed without harm: only the problem is stored."""
        return self._with(last_problem=problem)

    def failed(
        self,
        *,
        step: str,
        problem: Problem,
        now: datetime,
        operation: str = "",
        at_login: bool = False,
    ) -> "Host":
        """The host in FAILED, with the reason."""
        failure = Failure(
            previous_state=self.status.state,
            step=step,
            problem=problem,
            failed_at=now,
            retry_count=self.status.retry_count,
            operation=operation,
            at_login=at_login,
        )
        moved = self.after(Trigger.FAIL)
        return moved._with(failure=failure, last_problem=problem)

    def retried(self) -> "Host":
        """The host in IDLE again, with one more retry. Raises InvalidTransition unless FAILED."""
        moved = self.after(Trigger.RETRY)
        return moved._with(failure=None, retry_count=self.status.retry_count + 1)

    def reconfigured(self, former: "Host") -> "Host":
        """The host after its settings were changed from those of `former`.

        A host that failed because the login failed is at rest again if the login has other settings now.
        """
        return self.settled()._with(failure=None) if self.mends_login(former) else self

    def mends_login(self, former: "Host") -> bool:
        """Whether the host failed because the login failed, and the login has other settings than `former` had."""
        failure = self.status.failure
        return failure is not None and failure.at_login and self._login != former._login

    @property
    def _login(self) -> tuple[str, ...]:
        """The settings that decide whether a login succeeds."""
        config = self.config
        # Groups decide which authorities a certificate may be of.
        shown = (*self.host_keys, *(["certified", *config.groups] if self.certified else []))
        return (config.endpoint, config.user, config.ssh_key, *shown)

    def acknowledged(self, *, by: str, now: datetime) -> "Host":
        """The host, still in FAILED, with who has acknowledged that. Raises InvalidTransition unless FAILED."""
        if self.status.failure is None:
            state = self.status.state
            raise InvalidTransition(
                host=self.name,
                state=str(state),
                action="acknowledge",
                to=str(HostState.FAILED),
                allowed=tuple(str(s) for s in allowed_from(state)),
                required=(str(HostState.FAILED),),
            )
        seen = replace(self.status.failure, acknowledged_by=by, acknowledged_at=now)
        return self._with(failure=seen)

    def require_not_failed(self) -> None:
        """Raise HostFailed if the host is in FAILED."""
        failure = self.status.failure
        if failure is not None:
            raise HostFailed(host=self.name, step=failure.step, error=failure.problem.message)

    def require_startable(self) -> None:
        """Raise OnlyJump, HostFailed or InvalidTransition unless an operation may start."""
        if self.config.jump_only:
            raise OnlyJump(host=self.name)
        self.require_not_failed()
        after(self.status.state, Trigger.QUERY, host=self.name)

    def _with(self, **changes: object) -> "Host":
        return replace(self, status=replace(self.status, **changes))  # type: ignore[arg-type]
