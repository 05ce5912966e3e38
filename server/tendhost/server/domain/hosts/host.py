"""A host: how it is configured, what is known of it, and how its state moves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tendhost.server.domain.bounds import text
from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.etags import etag_of
from tendhost.server.domain.host_errors import AuthenticationRefused, HostUnreachable, LinkLost
from tendhost.server.domain.hosts.states import HostState, Trigger, after, allowed_from
from tendhost.server.domain.inventory.compose import ComposeVersion
from tendhost.server.domain.inventory.inventory import Observation, Reboot, RebootNeed
from tendhost.server.domain.inventory.scope import UpdateScope
from tendhost.server.domain.policy.availability import planned_time
from tendhost.server.domain.policy.health_checks import HealthChecks
from tendhost.server.domain.policy.hooks import Hooks
from tendhost.server.domain.policy.windows import MaintenanceWindow
from tendhost.server.domain.request_errors import HostFailed, InvalidTransition

_UNREACHED = frozenset({HostUnreachable.reason, LinkLost.reason, AuthenticationRefused.reason})
"""Problems of a host that could not be worked on at all."""


class AfterInterruption(StrEnum):
    """What to do about an upgrade that was cut off on the host, by a power cut for example."""

    UPGRADE = "upgrade"
    """Repair what it left, and begin the upgrade once more."""
    REPAIR = "repair"
    """Repair what it left, and leave the rest to a person."""


class RestartServices(StrEnum):
    """What to do about services that still run what an update replaced."""

    NEVER = "never"
    """They are listed, and left alone."""
    RESTART = "restart"
    """They are restarted, unless the host is rebooted anyway."""
    REBOOT = "reboot"
    """They count as a reason to reboot."""


class Snapshots(StrEnum):
    """Whether a file system snapshot is made before a host is changed."""

    NEVER = "never"
    IF_POSSIBLE = "if_possible"
    REQUIRED = "required"
    """A host on which none can be made is not updated."""


class Rollback(StrEnum):
    """Whether an update is taken back by itself."""

    NEVER = "never"
    UNHEALTHY = "unhealthy"
    """When the host is not healthy after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What tendhost may do to a host by itself."""

    auto_reboot: bool | None = None
    """Whether an update may reboot the host; None: yes, unless it is the machine of the server."""
    maintenance_windows: tuple[MaintenanceWindow, ...] = ()
    """It may be changed in any of them; empty: as the defaults of its groups and of the fleet say."""
    after_interruption: AfterInterruption = AfterInterruption.UPGRADE
    scope: UpdateScope = UpdateScope()
    """What updates change, unless the request says otherwise."""
    restart_services: RestartServices = RestartServices.NEVER
    snapshots: Snapshots = Snapshots.NEVER
    rollback: Rollback = Rollback.NEVER
    hooks: Hooks = Hooks()
    health_checks: HealthChecks = HealthChecks()


LOCAL = "local"
"""The address of the machine of the server itself."""
COMPOSE_HEALTH_TIMEOUT = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """What a user says of a host."""

    name: str
    address: str
    port: int = 22
    user: str = "root"
    ssh_key: str = ""
    """Path of a private key on the server; empty: `TENDHOST_SSH_KEY`, else the agent."""
    compose_paths: tuple[str, ...] = ()
    """The folders of its compose projects."""
    compose_version: ComposeVersion = ComposeVersion.AUTO
    pull_before_update: bool = True
    """Whether images are pulled; else only what is on the host already is brought up."""
    compose_health_timeout: timedelta = COMPOSE_HEALTH_TIMEOUT
    """For every service of a project to be healthy; then the former images are put back."""
    compose_prune: bool = False
    """Whether images that an update replaced are removed."""
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    policy: Policy = Policy()

    @property
    def endpoint(self) -> str:
        """Where it answers: two hosts with one endpoint are one machine."""
        return LOCAL if self.address == LOCAL else f"{self.address.lower()} {self.port}"

    @property
    def may_reboot(self) -> bool:
        """Whether the policy lets the host be rebooted; the machine of the server has to be named."""
        named = self.policy.auto_reboot
        return self.address != LOCAL if named is None else named


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as it is stored: the reason for programs, the message for people, the facts for both."""

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
    """Why a host is in FAILED, and who knows of it."""

    previous_state: HostState
    step: str
    problem: Problem
    failed_at: datetime
    retry_count: int
    """How many retries came before this failure."""
    operation: str = ""
    """The operation that failed, with which a retry goes on."""
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Another registered host that is, or may be, the same machine, and what both have in common."""

    host: str
    host_key: bool
    address: bool
    """The same address and port."""
    machine_id: bool
    """The same machine-id: either one machine, or copies of one."""

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
"""Of which a host's status tells. A fleet of copies of one image may have thousands."""


def most_alike(found: Iterable[Duplicate]) -> tuple[Duplicate, ...]:
    """The MOST_DUPLICATES that are most surely the same machine, each once, ordered by that and by name."""
    by_name = {duplicate.host: duplicate for duplicate in found}
    alike = sorted(by_name.values(), key=lambda one: (not (one.host_key or one.address), one.host))
    return tuple(alike[:MOST_DUPLICATES])


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """What tendhost knows of a host."""

    state: HostState = HostState.IDLE
    pending_count: int = 0
    pending_security_count: int | None = 0
    """None: the host's archives do not tell."""
    queried_at: datetime | None = None
    reboot: Reboot = Reboot()
    boot_id: str = ""
    os_name: str = ""
    healthy: bool | None = None
    """The outcome of the last check; None: never checked."""
    last_updated: datetime | None = None
    """When an update last succeeded. A dry run does not count."""
    update_took: timedelta | None = None
    """How long that update took."""
    last_problem: Problem | None = None
    """What the last operation failed with; None once one succeeded."""
    failure: Failure | None = None
    """Present in FAILED only."""
    retry_count: int = 0
    """Retries since the last success."""
    machine_id: str = ""
    """The latest that the host told; empty: it never told one."""
    duplicate_of: tuple[Duplicate, ...] = ()
    """Other names of the same machine, as the last look at the host found them; see `most_alike`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A registered machine. `revision` is the fleet's revision at which it last changed."""

    config: HostConfig
    host_key: str
    """The pinned public key, as in authorized_keys(5): type and base64."""
    registered_at: datetime
    status: HostStatus = HostStatus()
    revision: int = 0

    @property
    def planned_update(self) -> timedelta:
        """How long an update of it may take: as long as the last one that succeeded."""
        return planned_time(self.status.update_took)

    @property
    def name(self) -> str:
        """The name under which the host is registered."""
        return self.config.name

    @property
    def etag(self) -> str:
        """Changes with what users say of the host and the pinned key, not with what is known of it."""
        return etag_of(self.config, self.host_key)

    def after(self, trigger: Trigger) -> "Host":
        """The host once `trigger` has happened. Raises InvalidTransition."""
        state = after(self.status.state, trigger, host=self.name)
        return self._with(state=state)

    def settled(self) -> "Host":
        """The host at rest where its facts call for, from a state in which work may end well."""
        return self.after(self.resting_trigger)

    @property
    def resting_trigger(self) -> Trigger:
        """The trigger that leads to the resting state of the present facts."""
        if self.status.pending_count:
            return Trigger.UPDATES_PENDING
        if self.status.reboot.need is RebootNeed.NEEDED:
            return Trigger.REBOOT_DUE
        return Trigger.NOTHING_PENDING

    def observed(self, seen: Observation, now: datetime) -> "Host":
        """The host with the facts that a look at it found. Its state is another matter."""
        former = self.status.reboot
        reboot = seen.reboot or former
        boot_id = seen.inventory.system.boot_id
        if reboot.need is RebootNeed.NEEDED:
            reboot = replace(reboot, since=former.since or now)
            again = former.need is RebootNeed.NEEDED and former.reason == reboot.reason
            if again and self.status.boot_id not in ("", boot_id):
                # Another reboot would do no more than the one that has just been.
                words = f"{reboot.reason}, after a reboot just as before it"
                reboot = Reboot(need=RebootNeed.UNKNOWN, reason=words)
        looked = self._with(
            reboot=reboot,
            boot_id=boot_id,
            os_name=seen.inventory.system.os_name,
            machine_id=seen.inventory.system.machine_id or self.status.machine_id,
        )
        if seen.pending.queried_at is None:
            return looked  # what is pending could not be listed, which is not the same as nothing
        return looked._with(
            pending_count=seen.pending.count,
            pending_security_count=seen.pending.security_count,
            queried_at=seen.pending.queried_at,
        )

    def resembling(self, duplicates: tuple[Duplicate, ...]) -> "Host":
        """The host with those that are, or may be, the same machine."""
        return self._with(duplicate_of=duplicates)

    def checked(self, *, healthy: bool) -> "Host":
        """The host with the outcome of a check."""
        return self._with(healthy=healthy)

    def reboot_ordered(self, *, reason: str, now: datetime) -> "Host":
        """The host as one that needs a reboot because somebody wants it, if it did not need one."""
        if self.status.reboot.need is RebootNeed.NEEDED:
            return self
        return self._with(reboot=Reboot(need=RebootNeed.NEEDED, reason=reason, since=now))

    @property
    def unheard_of(self) -> bool:
        """Whether the host could not be reached the last time, or was never looked at."""
        return self.status.queried_at is None or self.is_away(*_UNREACHED)

    def is_away(self, *reasons: str) -> bool:
        """Whether the host could not be reached the last time, for one of `reasons`."""
        problem = self.status.last_problem
        return problem is not None and problem.reason in _UNREACHED and problem.reason in reasons

    def succeeded(
        self, *, updated_at: datetime | None, update_took: timedelta | None = None
    ) -> "Host":
        """The host after work that ended well; `updated_at` where that was an update."""
        return self._with(
            last_updated=updated_at or self.status.last_updated,
            update_took=update_took or self.status.update_took,
            last_problem=None,
            retry_count=0,
        )

    def troubled(self, problem: Problem) -> "Host":
        """The host after work that failed without harm: nothing but the problem is kept."""
        return self._with(last_problem=problem)

    def failed(self, *, step: str, problem: Problem, now: datetime, operation: str = "") -> "Host":
        """The host in FAILED, with the reason kept."""
        failure = Failure(
            previous_state=self.status.state,
            step=step,
            problem=problem,
            failed_at=now,
            retry_count=self.status.retry_count,
            operation=operation,
        )
        moved = self.after(Trigger.FAIL)
        return moved._with(failure=failure, last_problem=problem)

    def retried(self) -> "Host":
        """The host in IDLE again, its retries counted. Raises InvalidTransition unless FAILED."""
        moved = self.after(Trigger.RETRY)
        return moved._with(failure=None, retry_count=self.status.retry_count + 1)

    def acknowledged(self, *, by: str, now: datetime) -> "Host":
        """The host still in FAILED, with who has seen it. Raises InvalidTransition unless FAILED."""
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
        """Raise HostFailed where the host is in FAILED."""
        failure = self.status.failure
        if failure is not None:
            raise HostFailed(host=self.name, step=failure.step, error=failure.problem.message)

    def require_startable(self) -> None:
        """Raise HostFailed or InvalidTransition unless an operation may start."""
        self.require_not_failed()
        after(self.status.state, Trigger.QUERY, host=self.name)

    def _with(self, **changes: object) -> "Host":
        return replace(self, status=replace(self.status, **changes))  # type: ignore[arg-type]
