"""Tests of the login on a host, as messages."""

from tendhost.server.engine.fleet.host_tests import HostTest
from tendhost.server.packages.facts import Privilege
from tendhost.server.rpc.convert.common import duration, numbers, problem_message
from tendhost.v1 import host_service_pb2 as pb

_ROOT_ACCESS = numbers(Privilege, pb.RootAccess)


def host_test_message(found: HostTest) -> pb.TestHostResponse:
    """What a test found out."""
    login = found.login
    return pb.TestHostResponse(
        reachable=bool(found.host_key_fingerprint),
        host_key_fingerprint=found.host_key_fingerprint,
        host_key_pinned=found.host_key_pinned,
        logged_in=found.logged_in,
        user=login.user if login else "",
        root_access=_ROOT_ACCESS[login.privilege] if login else pb.ROOT_ACCESS_UNSPECIFIED,
        duration=duration(found.duration),
        problem=problem_message(found.problem),
    )
