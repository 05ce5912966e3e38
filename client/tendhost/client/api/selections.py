"""Calls about saved selections: create, find, change and delete them."""

from collections.abc import AsyncGenerator, Iterable

from google.protobuf.field_mask_pb2 import FieldMask

from tendhost.client.convert import selections as convert_selections
from tendhost.client.models.selections import HostFilter, Selection
from tendhost.client.transport import Connected, new_request_id
from tendhost.v1 import selection_service_pb2 as pb
from tendhost.v1.selection_service_pb2_grpc import SelectionServiceStub


class SelectionCalls(Connected):
    """Saved selections, which filters can name."""

    @property
    def _selections(self) -> SelectionServiceStub:
        return SelectionServiceStub(self._transport.calls)

    async def create_selection(self, name: str, selection: HostFilter) -> Selection:
        """Save a new selection. Raises AlreadyExists, InvalidRequest."""
        request = pb.CreateSelectionRequest(
            name=name,
            filter=convert_selections.filter_message(selection),
            request_id=new_request_id(),
        )
        response = await self._transport.call(self._selections.CreateSelection, request)
        return convert_selections.selection(response.selection)

    async def get_selection(self, name: str) -> Selection:
        """One saved selection."""
        request = pb.GetSelectionRequest(name=name)
        response = await self._transport.call(self._selections.GetSelection, request)
        return convert_selections.selection(response.selection)

    async def selections(self, *, page_size: int = 50) -> AsyncGenerator[Selection, None]:
        """Saved selections, sorted by name; pages are loaded when needed."""
        request = pb.ListSelectionsRequest(page_size=page_size)
        async for page in self._transport.pages(self._selections.ListSelections, request):
            for found in page.selections:
                yield convert_selections.selection(found)

    async def update_selection(
        self,
        name: str,
        selection: HostFilter,
        *,
        fields: Iterable[str] | None = None,
        etag: str = "",
    ) -> Selection:
        """Replace the filter of a saved selection, or only the named `fields` of the filter.

        With `etag`, that of the selection as it was read, nothing is changed where it was changed since.
        Raises NotFound, InvalidRequest, EtagMismatch.
        """
        request = pb.UpdateSelectionRequest(
            name=name,
            filter=convert_selections.filter_message(selection),
            update_mask=None if fields is None else FieldMask(paths=fields),
            etag=etag,
            request_id=new_request_id(),
        )
        response = await self._transport.call(self._selections.UpdateSelection, request)
        return convert_selections.selection(response.selection)

    async def delete_selection(self, name: str, *, etag: str = "") -> None:
        """Delete a saved selection. Raises NotAllowedNow where a schedule uses it, EtagMismatch."""
        request = pb.DeleteSelectionRequest(name=name, etag=etag, request_id=new_request_id())
        await self._transport.call(self._selections.DeleteSelection, request)
