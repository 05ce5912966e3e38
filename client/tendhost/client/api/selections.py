"""Saved selections: keep, find and forget them."""

from collections.abc import AsyncGenerator

from tendhost.client.convert import selections as convert_selections
from tendhost.client.models.selections import HostFilter, Selection
from tendhost.client.transport import Connected, new_request_id
from tendhost.v1 import selection_service_pb2 as pb
from tendhost.v1.selection_service_pb2_grpc import SelectionServiceStub


class SelectionCalls(Connected):
    """Selections of hosts that filters can name."""

    @property
    def _selections(self) -> SelectionServiceStub:
        return SelectionServiceStub(self._transport.calls)

    async def save_selection(
        self, name: str, selection: HostFilter, *, etag: str = ""
    ) -> Selection:
        """Keep a selection under a name, in place of the one that had it, of this `etag` where one is given.

        Raises InvalidRequest, EtagMismatch.
        """
        request = pb.SaveSelectionRequest(
            name=name,
            filter=convert_selections.filter_message(selection),
            etag=etag,
            request_id=new_request_id(),
        )
        response = await self._transport.call(self._selections.SaveSelection, request)
        return convert_selections.selection(response.selection)

    async def get_selection(self, name: str) -> Selection:
        """One saved selection."""
        request = pb.GetSelectionRequest(name=name)
        response = await self._transport.call(self._selections.GetSelection, request)
        return convert_selections.selection(response.selection)

    async def selections(self, *, page_size: int = 50) -> AsyncGenerator[Selection, None]:
        """Saved selections by name; a page is fetched when it is needed."""
        request = pb.ListSelectionsRequest(page_size=page_size)
        async for page in self._transport.pages(self._selections.ListSelections, request):
            for found in page.selections:
                yield convert_selections.selection(found)

    async def delete_selection(self, name: str, *, etag: str = "") -> None:
        """Forget a saved selection. Raises NotAllowedNow where a schedule names it, EtagMismatch."""
        request = pb.DeleteSelectionRequest(name=name, etag=etag, request_id=new_request_id())
        await self._transport.call(self._selections.DeleteSelection, request)
