"""Hooks, between messages and domain values."""

from tendhost.server.domain.policy.hooks import HOOK_TIMEOUT, Hook, Hooks
from tendhost.server.rpc.convert.common import duration
from tendhost.v1 import hook_pb2


def hooks(message: hook_pb2.Hooks) -> Hooks:
    """Validated hooks, their defaults filled in."""
    return Hooks(
        pre=_hook(message.pre) if message.HasField("pre") else None,
        post=_hook(message.post) if message.HasField("post") else None,
    )


def _hook(message: hook_pb2.Hook) -> Hook:
    codes = tuple(sorted(message.allowed_exit_codes))
    given = message.HasField("timeout")
    return Hook(
        script=message.script,
        timeout=message.timeout.ToTimedelta() if given else HOOK_TIMEOUT,
        allowed_exit_codes=codes or (0,),
        secret=message.secret,
    )


def hooks_message(value: Hooks) -> hook_pb2.Hooks:
    """Hooks as clients see them."""
    return hook_pb2.Hooks(
        pre=hook_message(value.pre) if value.pre else None,
        post=hook_message(value.post) if value.post else None,
    )


def hook_message(value: Hook) -> hook_pb2.Hook:
    """A hook as clients see it."""
    codes = value.allowed_exit_codes
    return hook_pb2.Hook(
        script="" if value.secret else value.script,
        timeout=duration(value.timeout),
        allowed_exit_codes=codes,
        secret=value.secret,
    )
