"""Server reflection in both of its versions.

grpcio-reflection serves v1alpha only. The messages of v1 are the same on the wire, so one servicer
serves both: see the header of grpc/reflection/v1/reflection.proto.
"""

import grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

_VERSIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def add_reflection(server: grpc.aio.Server, services: tuple[str, ...]) -> None:
    """Let clients such as grpcurl ask `server` what `services` look like."""
    servicer = ReflectionServicer(service_names=(*services, *_VERSIONS))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in _VERSIONS:
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
