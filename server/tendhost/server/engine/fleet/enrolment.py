"""The enrolment of a host's keys: what the host shows, compared with what a user expects."""

from collections.abc import Callable
from typing import TypeVar

from tendhost.server.domain.hosts.host import HostConfig
from tendhost.server.domain.hosts.host_keys import (
    ExpectedKeys,
    expected_keys,
    fingerprint,
    known_keys,
)
from tendhost.server.domain.hosts.pinned_keys import (
    Pins,
    changed_keys,
    enrolled_keys,
    require_few,
    usable_keys,
)
from tendhost.server.domain.hosts.reconfiguration import Reconfiguration
from tendhost.server.domain.request_errors import FieldViolation, HostKeyMismatch, InvalidArgument
from tendhost.server.engine.connection import HostConnector

T = TypeVar("T")


class Enrolment:
    """Finds the keys to pin for a host."""

    def __init__(self, connector: HostConnector) -> None:
        self._connector = connector

    async def require_usable_key(self, config: HostConfig) -> None:
        """Raise InvalidArgument if nobody could log in with the private key that the configuration names."""
        if problem := await self._connector.key_problem(config):
            raise InvalidArgument(FieldViolation("config.ssh_key", problem))

    async def pins_of_new_host(
        self, config: HostConfig, expected: str, known_hosts: str = ""
    ) -> Pins:
        """What the host must show: the keys expected, or the certificate or else the best key that it shows now.

        A host for which there is an authority shows a certificate, unless a key is expected. Raises InvalidArgument,
        HostKeyMismatch, and what HostConnector.get_certified_key and get_host_key_kinds raise.
        """
        if expected or known_hosts:
            field = "known_hosts" if known_hosts else "expected_host_key"
            wanted = (
                _known(config, known_hosts) if known_hosts else _parsed(config, expected, field)
            )
            keys = await self._matching(config, wanted)
            _require(lambda: require_few(keys), field)
            return Pins(keys=keys)
        if certified := await self._connector.get_certified_key(config):
            return Pins(keys=(certified,), certified=True)
        best = (await self._connector.get_host_key_kinds(config))[0]
        return Pins(keys=(await self._connector.get_host_key(config, best),))

    async def pins_after(self, wanted: Reconfiguration, config: HostConfig, former: Pins) -> Pins:
        """What the host must show after a change. Raises as `pins_of_new_host` does.

        Keys that are added take the place of a certificate.
        """
        pins = former
        if wanted.accept_new_host_key:
            pins = await self.pins_of_new_host(config, wanted.expected_host_key, wanted.known_hosts)
        elif wanted.known_hosts:
            pins = _with_known(config, pins, wanted.known_hosts)
        if not (wanted.added_host_keys or wanted.removed_host_keys):
            return pins
        keys = () if pins.certified else pins.keys
        if wanted.added_host_keys:
            parsed = _parsed(config, wanted.added_host_keys, "add_host_keys")
            # A fingerprint alone cannot be pinned: the host has the key that belongs to it.
            added = await self._matching(config, parsed) if parsed.digests else usable_keys(parsed)
            _require(lambda: require_few(changed_keys(keys, added, ())), "add_host_keys")
            keys = changed_keys(keys, added, ())
        if wanted.removed_host_keys:
            before = keys
            keys = _require(
                lambda: changed_keys(before, (), wanted.removed_host_keys), "remove_host_keys"
            )
        return Pins(keys=keys)

    async def _matching(self, config: HostConfig, wanted: ExpectedKeys) -> tuple[str, ...]:
        """The keys to pin of those wanted. Raises HostKeyMismatch if the host shows none of them."""
        offered = await self._connector.get_host_key_kinds(config)
        shown: list[str] = []
        # A host shows one key at a time. The known one may be of another kind than its best.
        for kind in [kind for kind in wanted.kinds if kind in offered] or offered[:1]:
            shown.append(await self._connector.get_host_key(config, kind))
            if wanted.all_in(shown):
                break
        keys = enrolled_keys(wanted, shown)
        if not keys:
            told = ", ".join(map(fingerprint, shown))
            raise HostKeyMismatch(host=config.name, expected=str(wanted), shown=told)
        return keys


def _with_known(config: HostConfig, pins: Pins, known_hosts: str) -> Pins:
    """The pins with the other keys of the host in a known_hosts file, which must have one of those pinned."""
    known = _known(config, known_hosts)
    if pins.certified or not any(known.matches(key) for key in pins.keys):
        told = ", ".join(map(fingerprint, pins.keys))
        raise HostKeyMismatch(host=config.name, expected=str(known), shown=f"{told} (pinned)")
    keys = changed_keys(pins.keys, usable_keys(known), ())
    _require(lambda: require_few(keys), "known_hosts")
    return Pins(keys=keys)


def _known(config: HostConfig, known_hosts: str) -> ExpectedKeys:
    """The keys of the host in a known_hosts file. Raises InvalidArgument."""
    names = tuple(dict.fromkeys((config.address, config.network_address, config.name)))
    return _require(lambda: known_keys(known_hosts, names, config.port), "known_hosts")


def _parsed(config: HostConfig, text: str, field: str) -> ExpectedKeys:
    """The keys that a user names in a field of the request. Raises InvalidArgument."""
    address, port = config.address, config.port
    names = (address, config.name, f"[{address}]:{port}", f"[{config.name}]:{port}")
    return _require(lambda: expected_keys(text, names), field)


def _require(work: Callable[[], T], field: str) -> T:
    """What `work` returns; its ValueError is a violation of `field`. Raises InvalidArgument."""
    try:
        return work()
    except ValueError as error:
        raise InvalidArgument(FieldViolation(field, str(error))) from error
