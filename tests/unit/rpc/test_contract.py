"""What the contract says of itself: a comment for everything, and what a field means that is left out."""

import re
from collections.abc import Iterator
from importlib import resources

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)

from buf.validate import validate_pb2
from tendhost.server.rpc.rules import violations_of
from tendhost.v1 import host_pb2, rollout_pb2, rollout_service_pb2

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


def comments() -> Iterator[tuple[str, str]]:
    """Every comment of the contract's own files, with where it is."""
    stored = resources.files("tendhost.v1").joinpath("descriptors.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(stored).file:
        if file.package == "tendhost.v1":
            for at in file.source_code_info.location:
                if at.leading_comments.strip():
                    yield f"{file.name}:{at.span[0] + 1}", " ".join(at.leading_comments.split())


def test_contract__has_comments_with_a_subject_that_end_as_sentences() -> None:
    no_subject = re.compile(
        r"(its?|they|them|those|this|which|who|whose|how|by|of|with|in)\b", re.I
    )
    wrong = [
        f"{where}: {comment}"
        for where, comment in comments()
        if no_subject.match(comment) or not comment.endswith(".") or comment[0].islower()
    ]
    assert wrong == []


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


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (host_pb2.UpdateScope(include=["tb-*", "-tb"]), "include[1]", "-tb"),
        (host_pb2.UpdateScope(exclude=["tb tb"]), "exclude[0]", "tb tb"),
        (host_pb2.ScopeOverride(include=[""]), "include[0]", ""),
        (host_pb2.ScopeOverride(exclude=["x" * 256]), "exclude[0]", "x" * 100),
        (rollout_pb2.RolloutSpec(waves=["1", "101%"]), "waves[1]", "101%"),
        (rollout_pb2.RolloutStage(tag="web", waves=["0"]), "waves[0]", "0"),
        (rollout_pb2.RolloutSpec(max_failures="01"), "max_failures", "01"),
        (rollout_service_pb2.ResumeRolloutRequest(max_failures="rest"), "max_failures", "rest"),
    ],
)
def test_shared_rule__holds_for_each_field_that_names_it(message, field, value):
    found = {one.field: one.description for one in violations_of(message)}
    assert "must be a" in found[field]
    assert value in found[field]


def test_shared_rule__lets_pass_what_it_means():
    scope = host_pb2.UpdateScope(include=["tb-*", "[a-z]?", "lib:amd64"], exclude=["linux-*"])
    spec = rollout_pb2.RolloutSpec(waves=["1", "999999", "100%", "rest"], max_failures="0%")
    assert violations_of(scope) == violations_of(spec) == ()
    assert violations_of(rollout_pb2.RolloutSpec(max_failures="")) == ()
