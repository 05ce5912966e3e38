"""What an error of the database means: who has the trouble, and whether it is sound to try again."""

import os
from typing import Any

import asyncpg

ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""All that a statement may raise."""
_LOST: tuple[type[BaseException], ...] = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # The server has become a standby.
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
)
_AGAIN = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.StatementCompletionUnknownError,
    asyncpg.LockNotAvailableError,
)
_OWN = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.SyntaxOrAccessError,
    asyncpg.ProgramLimitExceededError,
)
"""About a statement and its values. All other errors are about the database."""


def is_lost(error: BaseException, connection: Any) -> bool:
    """Whether the connection, or its server, is of no use any more: another one may be."""
    if isinstance(error, asyncpg.InterfaceError):
        return bool(connection.is_closed())  # else a parameter that asyncpg does not take
    return isinstance(error, _LOST) or bool(connection.is_closed())


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction met another one at the same rows, and may be repeated as it is."""
    return isinstance(error, _AGAIN)


def is_own(error: BaseException) -> bool:
    """Whether an error is of the work that raised it, and not of the database."""
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return False
    if isinstance(error, (asyncpg.PostgresError, asyncpg.InternalClientError)):
        return isinstance(error, _OWN)
    return not isinstance(error, OSError)


def in_words(error: BaseException) -> str:
    """What went wrong, on one line."""
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    text = " ".join(str(error).split())
    return text or type(error).__name__
