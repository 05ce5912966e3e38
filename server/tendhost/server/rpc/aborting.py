"""The end of a call that is refused or has failed: its status, with what a client needs to know of the error."""

import asyncio
import logging
from typing import Any

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

from tendhost.server.domain.errors import TendhostError
from tendhost.server.rpc.status import internal_status, status_of

logger = logging.getLogger(__name__)


async def abort(method: str, error: Exception, context: Any) -> None:
    """End the call with the status of `error`, unless it has ended by an abort.

    Raises grpc.aio.AbortError, and CancelledError where nobody receives the status.
    """
    if isinstance(error, grpc.aio.AbortError):
        return
    status = internal_status()
    if isinstance(error, TendhostError):
        status = status_of(error)
        logger.info("a call was refused", extra={"method": method, "reason": error.reason})
    else:
        logger.error("a call failed unexpectedly", exc_info=error, extra={"method": method})
    await _abort_with(status, context)


async def _abort_with(status: status_pb2.Status, context: Any) -> None:
    rich = rpc_status.to_status(status)
    try:
        await context.abort(rich.code, rich.details, rich.trailing_metadata)
    except grpc.aio.AbortError:
        raise
    except Exception as failed:
        # The connection takes nothing any more, or the server has stopped: nobody receives the status.
        logger.info("a client did not take its refusal", extra={"cause": str(failed)})
        raise asyncio.CancelledError from failed
