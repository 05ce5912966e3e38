"""SelectionService."""

from dataclasses import replace
from typing import Any

from tendhost.server.domain.hosts.selection import SavedSelection
from tendhost.server.domain.hosts.unmatched import told
from tendhost.server.engine.engine import Engine
from tendhost.server.rpc.convert.selections import host_filter, selection_message
from tendhost.server.rpc.interceptor import call
from tendhost.server.rpc.paging import fill, page_size, position
from tendhost.v1 import selection_service_pb2 as pb
from tendhost.v1 import selection_service_pb2_grpc


class SelectionServicer(selection_service_pb2_grpc.SelectionServiceServicer):
    """Saved selections of hosts."""

    def __init__(self, engine: Engine) -> None:
        self._selections = engine.selections
        self._store = engine.store

    async def SaveSelection(
        self, request: pb.SaveSelectionRequest, context: Any
    ) -> pb.SaveSelectionResponse:
        wanted = host_filter(request.filter)
        # A filter that names another selection is refused where it is saved.
        warnings = told(await self._selections.unmatched(replace(wanted, selection="")))

        def encode(saved: SavedSelection) -> pb.SaveSelectionResponse:
            return pb.SaveSelectionResponse(selection=selection_message(saved, warnings))

        saving = self._selections.save(request.name, wanted, call(encode), etag=request.etag)
        return encode(await saving)

    async def GetSelection(
        self, request: pb.GetSelectionRequest, context: Any
    ) -> pb.GetSelectionResponse:
        saved = await self._store.selection(request.name)
        warnings = told(await self._selections.unmatched(saved.filter))
        return pb.GetSelectionResponse(selection=selection_message(saved, warnings))

    async def ListSelections(
        self, request: pb.ListSelectionsRequest, context: Any
    ) -> pb.ListSelectionsResponse:
        page = await self._store.selections(
            after=position(request, request.page_token), limit=page_size(request.page_size)
        )
        selections, following = fill(
            request, page.rows, selection_message, lambda saved: saved.name, more=page.more
        )
        return pb.ListSelectionsResponse(selections=selections, next_page_token=following)

    async def DeleteSelection(
        self, request: pb.DeleteSelectionRequest, context: Any
    ) -> pb.DeleteSelectionResponse:
        def encode(saved: SavedSelection) -> pb.DeleteSelectionResponse:
            return pb.DeleteSelectionResponse(revision=saved.revision)

        deleting = self._selections.delete(request.name, call(encode), etag=request.etag)
        return encode(await deleting)
