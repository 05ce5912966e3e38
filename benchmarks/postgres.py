"""A throwaway PostgreSQL for benchmarks, and what it takes to start one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.figures import Unmeasured
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.store.opening import require_extra
from tests.cluster.programs import POSTGRESQL
from tests.cluster.single import Server


@contextmanager
def postgres(*, settings: Sequence[str] = ()) -> Iterator[Server]:
    """One that runs, removed afterwards; `settings` as of Server. Raises Unmeasured where there is none."""
    try:
        require_extra()
    except ConfigurationError as error:
        raise Unmeasured(str(error)) from error
    if not POSTGRESQL.is_there:
        raise Unmeasured("no PostgreSQL is installed here: `apt-get install postgresql` brings it")
    server = Server(settings=settings)
    try:
        yield server.start()
    finally:
        server.remove()
