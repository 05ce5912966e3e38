"""Executes the steps of operations on their hosts. `domain/operations/step_sequence.py` decides their order."""

from collections.abc import Awaitable, Callable, Mapping

from tendhost.server.clock import Clock
from tendhost.server.domain.operations.operation import Outcome
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.transitions import OperationState
from tendhost.server.engine.connection import Session
from tendhost.server.engine.fleet.policies import Policies
from tendhost.server.engine.jobs.reporter import StepReporter
from tendhost.server.engine.steps.apply import apply
from tendhost.server.engine.steps.compose import compose
from tendhost.server.engine.steps.connect import connect
from tendhost.server.engine.steps.context import StepContext, StepSettings, StepStore
from tendhost.server.engine.steps.download import download
from tendhost.server.engine.steps.hooks import post_hook, pre_hook
from tendhost.server.engine.steps.list_packages import list_packages
from tendhost.server.engine.steps.preflight import preflight
from tendhost.server.engine.steps.reboot import reboot_host
from tendhost.server.engine.steps.reboot_check import reboot_check
from tendhost.server.engine.steps.restart_services import restart_services
from tendhost.server.engine.steps.rollback import roll_back
from tendhost.server.engine.steps.snapshot import snapshot
from tendhost.server.engine.steps.verify import verify
from tendhost.server.remote.probes import Prober

_STEPS: Mapping[StepName, Callable[[StepContext], Awaitable[Outcome]]] = {
    StepName.CONNECT: connect,
    StepName.PREFLIGHT: preflight,
    StepName.LIST: list_packages,
    StepName.PRE_HOOK: pre_hook,
    StepName.DOWNLOAD: download,
    StepName.SNAPSHOT: snapshot,
    StepName.APPLY: apply,
    StepName.COMPOSE: compose,
    StepName.REBOOT_CHECK: reboot_check,
    StepName.REBOOT: reboot_host,
    StepName.RESTART_SERVICES: restart_services,
    StepName.VERIFY: verify,
    StepName.POST_HOOK: post_hook,
    StepName.ROLLBACK: roll_back,
}


class StepExecutor:
    """Executes any step of any operation."""

    def __init__(
        self,
        *,
        store: StepStore,
        prober: Prober,
        clock: Clock,
        settings: StepSettings,
        policies: Policies,
    ) -> None:
        self._store = store
        self._prober = prober
        self._clock = clock
        self._settings = settings
        self._policies = policies

    async def execute(
        self, step: StepName, state: OperationState, session: Session, reporter: StepReporter
    ) -> Outcome:
        """Execute `step`. Raises HostError if the step has failed."""
        context = StepContext(
            operation=state.operation,
            host=state.host,
            session=session,
            reporter=reporter,
            store=self._store,
            prober=self._prober,
            clock=self._clock,
            settings=self._settings,
            policies=self._policies,
        )
        return await _STEPS[step](context)
