"""An engine that rolls out a dry run over every host of its store, with an executor in place of hosts.

Called with a folder that `replicas.py` has prepared. It prints how many hosts succeeded, the CPU milliseconds a host,
and the highest resident size in MiB.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from benchmarks.hostless_engine import hostless_engine
from benchmarks.rollout_engine import rollout_all
from tendhost.server.domain.operations.operation import Outcome
from tendhost.server.domain.operations.step_traits import StepName
from tendhost.server.domain.transitions import OperationState
from tendhost.server.engine.connection import Session
from tendhost.server.engine.jobs.reporter import StepReporter
from tendhost.server.engine.steps.executor import StepExecutor
from tendhost.server.main import DATABASE
from tendhost.server.store.sqlite import open_store


async def _at_once(
    self: StepExecutor,
    step: StepName,
    state: OperationState,
    session: Session,
    reporter: StepReporter,
) -> Outcome:
    """Every step succeeds, and no host is asked."""
    return Outcome()


async def main(folder: Path) -> None:
    StepExecutor.execute = _at_once  # type: ignore[method-assign]  # what hosts cost is not to be measured
    async with hostless_engine(await open_store(folder / DATABASE)) as engine:
        began = time.process_time()
        done = await rollout_all(engine)
        spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([done, spent / max(1, done) * 1000, peak]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
