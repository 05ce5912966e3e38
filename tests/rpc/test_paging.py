"""Lists a page at a time: nothing twice, nothing left out, and tokens that fit their own list only."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from tendhost.v1 import host_service_pb2, operation_service_pb2, rollout_service_pb2
from tendhost.v1.host_pb2 import HostFilter
from tendhost.v1.rollout_pb2 import RolloutSpec
from tests.rpc.api import Api, refusal

NAMES = [f"web{number:02}" for number in range(12)]


async def fleet(api: Api) -> None:
    for number, name in enumerate(NAMES):
        await api.register(name, tags=["even"] if number % 2 == 0 else ["odd"])


async def host_page(api: Api, **how: Any) -> Any:
    return await api.hosts.ListHosts(host_service_pb2.ListHostsRequest(**how))


async def paged(
    page: Callable[..., Awaitable[Any]], items: Callable[[Any], list[str]], size: int
) -> list[list[str]]:
    """Every page of a list."""
    pages, token = [], ""
    while True:
        response = await page(page_size=size, page_token=token)
        pages.append(items(response))
        token = response.next_page_token
        if not token:
            return pages


@pytest.mark.parametrize(
    ("size", "pages"), [(5, [5, 5, 2]), (6, [6, 6]), (12, [12]), (1, [1] * 12)]
)
async def test_pages_of_hosts_follow_each_other(api: Api, size: int, pages: list[int]):
    await fleet(api)

    async def page(**how: Any) -> Any:
        return await host_page(api, **how)

    found = await paged(page, lambda r: [h.config.name for h in r.hosts], size)
    assert [len(part) for part in found] == pages
    assert [name for part in found for name in part] == NAMES


async def test_pages_of_a_selection_hold_the_selection_only(api: Api):
    await fleet(api)
    selection = HostFilter(all_tags=["odd"], names=["web*"])

    async def page(**how: Any) -> Any:
        return await host_page(api, filter=selection, **how)

    found = await paged(page, lambda r: [h.config.name for h in r.hosts], 4)
    assert [name for part in found for name in part] == NAMES[1::2]
    assert [len(part) for part in found] == [4, 2]


async def test_operations_rollouts_and_their_hosts_are_paged_alike(api: Api):
    await fleet(api)
    spec = RolloutSpec(waves=("5",), dry_run=True)
    spec.delay_between_waves.SetInParent()
    rollouts = []
    for _ in range(3):
        request = rollout_service_pb2.StartRolloutRequest(spec=spec)
        rollouts.append((await api.rollouts.StartRollout(request)).rollout.id)
        await api.world.rollout_ended(rollouts[-1])

    async def operations(**how: Any) -> Any:
        request = operation_service_pb2.ListOperationsRequest(rollout_id=rollouts[0], **how)
        return await api.operations.ListOperations(request)

    async def all_rollouts(**how: Any) -> Any:
        return await api.rollouts.ListRollouts(rollout_service_pb2.ListRolloutsRequest(**how))

    async def members(**how: Any) -> Any:
        request = rollout_service_pb2.GetRolloutRequest(id=rollouts[1], **how)
        return await api.rollouts.GetRollout(request)

    found = await paged(operations, lambda r: [o.host for o in r.operations], 5)
    assert sorted(host for part in found for host in part) == NAMES
    assert [len(part) for part in found] == [5, 5, 2]
    found = await paged(all_rollouts, lambda r: [x.id for x in r.rollouts], 2)
    assert sorted(id for part in found for id in part) == sorted(rollouts)
    found = await paged(members, lambda r: [m.host for m in r.hosts], 5)
    assert [host for part in found for host in part] == NAMES


async def test_a_page_has_fifty_unless_told_and_never_more_than_a_thousand(api: Api):
    for number in range(60):
        await api.register(f"web{number:02}")
    assert len((await host_page(api)).hosts) == 50
    assert len((await host_page(api, page_size=100_000)).hosts) == 60
    refused = await refusal(host_page(api, page_size=-1))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_size"])


async def test_a_list_goes_on_when_the_host_that_its_token_names_is_gone(api: Api):
    await fleet(api)
    first = await host_page(api, page_size=5)
    last = first.hosts[-1].config.name
    await api.hosts.UnregisterHost(host_service_pb2.UnregisterHostRequest(name=last))
    following = await host_page(api, page_size=5, page_token=first.next_page_token)
    assert [h.config.name for h in following.hosts] == NAMES[5:10]


async def test_a_token_may_be_used_with_another_page_size(api: Api):
    await fleet(api)
    token = (await host_page(api, page_size=5)).next_page_token
    following = await host_page(api, page_size=2, page_token=token)
    assert [h.config.name for h in following.hosts] == NAMES[5:7]


async def test_a_token_of_another_list_is_refused(api: Api):
    await fleet(api)
    token = (await host_page(api, page_size=5)).next_page_token
    selection = HostFilter(all_tags=["odd"])
    other = [
        host_page(api, filter=selection, page_token=token),
        api.operations.ListOperations(
            operation_service_pb2.ListOperationsRequest(page_token=token)
        ),
        api.rollouts.ListRollouts(rollout_service_pb2.ListRolloutsRequest(page_token=token)),
    ]
    for call in other:
        refused = await refusal(call)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    "token",
    [
        *("x", "====", "?", "é", "AAAA", base64.urlsafe_b64encode(b"\xff" * 20).decode()),
        base64.urlsafe_b64encode(b"12345678web05").decode(),
        base64.urlsafe_b64encode(b"").decode() + "A" * 4000,
    ],
)
async def test_a_token_that_is_garbage_is_refused(api: Api, token: str):
    refused = await refusal(host_page(api, page_token=token))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.reason == "PAGE_TOKEN_INVALID"
