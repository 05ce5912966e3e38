"""SelectionService: saved selections of hosts."""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from tendhost.server.engine.engine import Engine
from tendhost.server.engine.fleet.selections import SelectionView
from tendhost.server.rpc.convert.selections import amended_filter, host_filter, selection_message
from tendhost.server.rpc.interceptor import call
from tendhost.server.rpc.paging import fill, page_size, position
from tendhost.server.store.protocols.policies import SelectionStore
from tendhost.v1 import selection_service_pb2 as pb
from tendhost.v1 import selection_service_pb2_grpc

R = TypeVar("R", bound=Message)


class SelectionServicer(selection_service_pb2_grpc.SelectionServiceServicer):
    """Manages saved selections."""

    def __init__(self, engine: Engine) -> None:
        self._selections = engine.selections
        self._store: SelectionStore = engine.store

    async def CreateSelection(
        self, request: pb.CreateSelectionRequest, context: Any
    ) -> pb.CreateSelectionResponse:
        encode = with_selection(pb.CreateSelectionResponse)
        wanted = host_filter(request.filter)
        return encode(await self._selections.create(request.name, wanted, call(encode)))

    async def GetSelection(
        self, request: pb.GetSelectionRequest, context: Any
    ) -> pb.GetSelectionResponse:
        view = await self._selections.view(await self._store.selection(request.name))
        return with_selection(pb.GetSelectionResponse)(view)

    async def ListSelections(
        self, request: pb.ListSelectionsRequest, context: Any
    ) -> pb.ListSelectionsResponse:
        page = await self._store.selections(
            after=position(request, request.page_token), limit=page_size(request.page_size)
        )
        response = pb.ListSelectionsResponse()
        response.next_page_token = await fill(
            response.selections,
            request,
            page.rows,
            selection_message,
            lambda saved: saved.name,
            more=page.more,
        )
        return response

    async def UpdateSelection(
        self, request: pb.UpdateSelectionRequest, context: Any
    ) -> pb.UpdateSelectionResponse:
        encode = with_selection(pb.UpdateSelectionResponse)
        amended = amended_filter(request)
        name, etag = request.name, request.etag
        return encode(await self._selections.update(name, amended, call(encode), etag=etag))

    async def DeleteSelection(
        self, request: pb.DeleteSelectionRequest, context: Any
    ) -> pb.DeleteSelectionResponse:
        def encode(view: SelectionView) -> pb.DeleteSelectionResponse:
            return pb.DeleteSelectionResponse(revision=view.selection.revision)

        deleting = self._selections.delete(request.name, call(encode), etag=request.etag)
        return encode(await deleting)


def with_selection(response: Callable[..., R]) -> Callable[[SelectionView], R]:
    """Makes the response that carries a selection."""
    return lambda view: response(selection=selection_message(view.selection, view.warnings))
