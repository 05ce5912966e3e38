"""What the contract says of itself: a comment for everything, and what a field means that is left out."""

import re
from collections.abc import Iterator
from importlib import resources

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)

from buf.validate import validate_pb2

LEFT_OUT = re.compile(
    r"\b(empty|absent|unset|unspecified|default|else|required|false)\b|\b0\b|See ", re.I
)


def fields() -> Iterator[tuple[DescriptorProto, FieldDescriptorProto, str]]:
    """Every field of the contract's messages, with its comment."""
    stored = resources.files("tendhost.v1").joinpath("descriptors.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(stored).file:
        comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
        for i, message in enumerate(file.message_type):
            for j, field in enumerate(message.field):
                yield message, field, comments.get((4, i, 2, j), "")


def test_contract__has_a_comment_on_every_field() -> None:
    bare = [f"{message.name}.{field.name}" for message, field, comment in fields() if not comment]
    assert bare == []


def test_requests__say_of_every_field_what_leaving_it_out_means() -> None:
    silent = []
    for message, field, comment in fields():
        rules = field.options.Extensions[validate_pb2.field]
        must_be_there = (
            rules.required or rules.string.min_len or rules.repeated.min_items or rules.int32.gte
        )
        is_flag = field.type == FieldDescriptorProto.TYPE_BOOL
        if not message.name.endswith("Request") or must_be_there or is_flag:
            continue
        if not LEFT_OUT.search(comment):
            silent.append(f"{message.name}.{field.name}: {comment.strip()}")
    assert silent == []
