"""Calls that a proxy ends because the server behind it is gone."""

import grpc
import pytest

from tendhost.client import ServerUnreachable
from tendhost.client.errors import ServerFault, error_of


def failed(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, nothing, nothing, details=details, debug_error_string="")


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        # HAProxy, while a message was awaited
        (
            grpc.StatusCode.UNKNOWN,
            "Stream removed (Data frame with END_STREAM flag received)",
            ServerUnreachable,
        ),
        # nginx and Envoy, while a message was awaited
        (
            grpc.StatusCode.INTERNAL,
            "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))",
            ServerUnreachable,
        ),
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", ServerUnreachable),
        # HTTP's 502 and 503, before the first message
        (grpc.StatusCode.UNAVAILABLE, "Received http2 header with status: 502", ServerUnreachable),
        (grpc.StatusCode.INTERNAL, "Failed to deserialize response", ServerFault),
        (grpc.StatusCode.UNKNOWN, "Unexpected TypeError", ServerFault),
        (grpc.StatusCode.INTERNAL, "", ServerFault),
    ],
)
def test_broken_call__is_told_from_a_fault_of_the_server(
    code: grpc.StatusCode, details: str, kind: type[Exception]
) -> None:
    assert type(error_of(failed(code, details), target="a:1")) is kind
