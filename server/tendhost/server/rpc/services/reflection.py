"""Server reflection in both of its versions, with the comments of the contract.

grpcio-reflection serves v1alpha only, and what protobuf keeps of a .proto file has no comments. The
messages of v1 are those of v1alpha under another package (see the header of
grpc/reflection/v1/reflection.proto), so one servicer serves both, and the description of v1 is made of
that of v1alpha. The comments come from the descriptor set that `make protos` writes beside the contract.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

T = TypeVar("T")

_V1ALPHA = "grpc.reflection.v1alpha"
_V1 = "grpc.reflection.v1"
_SERVICES = tuple(f"{package}.ServerReflection" for package in (_V1, _V1ALPHA))


def add_reflection(server: grpc.aio.Server, services: tuple[str, ...]) -> None:
    """Let clients such as grpcurl ask `server` what `services` look like."""
    servicer = ReflectionServicer((*services, *_SERVICES), pool=_Descriptions())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in _SERVICES:
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))


class _Descriptions:
    """What ReflectionServicer asks of a pool of descriptors; every file has its comments."""

    def __init__(self) -> None:
        self._pools = (descriptor_pool.Default(), _reflection_v1())

    def FindFileByName(self, name: str) -> "_File":
        """See DescriptorPool."""
        return _File(self._first(lambda pool: pool.FindFileByName(name)))

    def FindFileContainingSymbol(self, symbol: str) -> "_File":
        """See DescriptorPool, whose pools find a service and not its methods."""
        return _File(self._first(lambda pool: _file_of(pool, symbol)))

    def FindMessageTypeByName(self, name: str) -> Any:
        """See DescriptorPool."""
        return self._first(lambda pool: pool.FindMessageTypeByName(name))

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:
        """See DescriptorPool."""
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Any) -> Any:
        """See DescriptorPool."""
        return message.file.pool.FindAllExtensions(message)

    def _first(self, find: Callable[[Any], T]) -> T:
        for pool in self._pools[:-1]:
            try:
                return find(pool)
            except KeyError:
                continue
        return find(self._pools[-1])


class _File:
    """A FileDescriptor as ReflectionServicer uses it, that copies its comments, too."""

    def __init__(self, file: FileDescriptor) -> None:
        self._file = file
        self.name = file.name

    @property
    def dependencies(self) -> Sequence["_File"]:
        """See FileDescriptor."""
        return [_File(file) for file in self._file.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:
        """See FileDescriptor."""
        documented = _documented().get(self.name)
        if documented is None:
            self._file.CopyToProto(proto)
        else:
            proto.CopyFrom(documented)


def _file_of(pool: Any, symbol: str) -> FileDescriptor:
    try:
        found: FileDescriptor = pool.FindFileContainingSymbol(symbol)
    except KeyError:
        service, _, method = symbol.rpartition(".")
        of_service = pool.FindServiceByName(service)
        if method not in of_service.methods_by_name:
            raise
        found = of_service.file
    return found


@cache
def _documented() -> dict[str, FileDescriptorProto]:
    """The files of the contract with their comments, by name; read at the first question only."""
    stored = resources.files("tendhost.v1").joinpath("descriptors.binpb").read_bytes()
    return {file.name: file for file in FileDescriptorSet.FromString(stored).file}


def _reflection_v1() -> descriptor_pool.DescriptorPool:
    described = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(described)
    described.name = "grpc/reflection/v1/reflection.proto"
    described.package = _V1
    for message in described.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(_V1ALPHA, _V1)
    for method in described.service[0].method:
        method.input_type = method.input_type.replace(_V1ALPHA, _V1)
        method.output_type = method.output_type.replace(_V1ALPHA, _V1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    return pool
