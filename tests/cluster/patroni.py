"""Asks the nodes' Patroni over HTTP, past the links: who is what, and to change it."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from tests.cluster.keeping import ClusterError
from tests.cluster.settings import NODES, REST_PORT, Net

LOOK_SECONDS, CHANGE_SECONDS = 3.0, 30.0


class Patroni:
    """The Patroni of all nodes. A node that does not answer is one that is not there."""

    def __init__(self, net: Net) -> None:
        self._net = net

    async def primary(self) -> str | None:
        """The node that takes writes; None while there is none."""
        answers = await asyncio.gather(*(self._ask(node, "GET", "/primary") for node in NODES))
        statuses = dict(zip(NODES, (status for status, _ in answers), strict=True))
        return next((node for node, status in statuses.items() if status == 200), None)

    async def members(self) -> list[dict[str, Any]]:
        """What Patroni's `GET /cluster` lists; empty where no node answers."""
        for node in NODES:
            status, text = await self._ask(node, "GET", "/cluster")
            if status == 200:
                members: list[dict[str, Any]] = json.loads(text)["members"]
                return members
        return []

    async def change(self, node: str, path: str, **body: str | bool) -> None:
        """Raises ClusterError with what Patroni says."""
        status, text = await self._ask(node, "POST", path, body)
        if status != 200:
            raise ClusterError(f"{node} refuses {path} {body}: {text}")

    async def _ask(
        self, node: str, method: str, path: str, body: Mapping[str, str | bool] | None = None
    ) -> tuple[int, str]:
        url = f"http://{self._net.inside(node)}:{REST_PORT}{path}"
        if body is None:
            return await exchange(urllib.request.Request(url, method=method), LOOK_SECONDS)
        data = json.dumps(body).encode()
        return await exchange(urllib.request.Request(url, data, method=method), CHANGE_SECONDS)


def working_members(members: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that follow the leader of the cluster, and the leader; none where no node is synchronous.

    A primary that stood still says of itself that it works, on a timeline that is not the leader's any more.
    """
    leader = next((m for m in members if m.get("role") == "leader"), None)
    if leader is None or not any(m.get("role") == "sync_standby" for m in members):
        return []
    states = {"running", "streaming"}
    return [
        m
        for m in members
        if m.get("state") in states and m.get("timeline") == leader.get("timeline")
    ]


async def exchange(request: urllib.request.Request, seconds: float) -> tuple[int, str]:
    """The status and the text of an answer; status 0, and why, where there is none."""
    return await asyncio.to_thread(_exchange, request, seconds)


def _exchange(request: urllib.request.Request, seconds: float) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)
