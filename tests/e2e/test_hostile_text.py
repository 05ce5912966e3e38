"""Text with which a shell would do something else reaches a real host as text."""

import grpc
import pytest

from tendhost.v1 import host_service_pb2, operation_pb2
from tests.e2e.daemon import daemon
from tests.fleet import HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

CANARY = "/tmp/tendhost-canary"
PATHS = (
    f"/srv/$(touch {CANARY})",
    f"/srv/`touch {CANARY}`",
    f"/srv/it's; touch {CANARY}; '",
    f'/srv/"; touch {CANARY}; "',
    f"/srv/--x || touch {CANARY} #",
)


async def test_text_of_a_request__changes_nothing_on_a_real_host(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple",)))
    host = fleet["web1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await server.register("web1", host.address, compose_paths=PATHS)
        asked = await server.query("web1")
        assert asked.status == operation_pb2.OPERATION_STATUS_SUCCEEDED, asked
        await server.update("web1")
        request = host_service_pb2.RunOsqueryRequest(
            name="web1", sql=f"SELECT 1 -- '; touch {CANARY}; `touch {CANARY}`$(touch {CANARY})"
        )
        with pytest.raises(grpc.aio.AioRpcError, match="osquery") as refused:
            await server.hosts.RunOsquery(request)
        assert refused.value.code() is not grpc.StatusCode.INTERNAL
        inventory = await server.inventory("web1")
    assert inventory.packages
    assert host.run(f"test ! -e {CANARY}").returncode == 0
