"""The smallest authorized_keys and sudoers files with which the server can work on a host as a user."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tendhost.server.domain.hosts.host import HostConfig

MOST_FORWARDS = 64
"""Hosts behind a jump that its authorized_keys names. sshd before OpenSSH 7.9 reads 8 KiB of a line."""
_PLAIN = re.compile(rb"[a-z0-9._-]")
_ROOT = (
    "# The user may run every command as root: tendhost sends scripts to sh, and a rule for sh is a rule for all",
    "# commands. See docs/packages.md. Install it with mode 0440, and check it: visudo -cf /etc/sudoers.d/tendhost",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFiles:
    """What an administrator installs on a host."""

    user: str
    public_keys: tuple[str, ...]
    """The server's keys for the host: type and base64."""
    authorized_keys: str
    """For ~/.ssh/authorized_keys of `user`, with the options that tendhost can do without switched off."""
    sudoers: str
    """For /etc/sudoers.d; empty for root, and for a host that is only a jump."""


def login_files(
    config: HostConfig, public_keys: Sequence[str], behind: Sequence[HostConfig]
) -> LoginFiles:
    """The files for a host through which the hosts `behind` are reached.

    Of these at most MOST_FORWARDS + 1 are needed. Source: sshd(8), AUTHORIZED_KEYS FILE FORMAT; sudoers(5).
    """
    no_command = ('command="/bin/false"',) if config.jump_only else ()
    options = ",".join(("restrict", *no_command, *_forwards(behind)))
    keys = "".join(f"{options} {key} tendhost\n" for key in public_keys)
    sudoers = ""
    if config.user != "root" and not config.jump_only:
        rule = f"{sudoers_name(config.user)} ALL=(root) NOPASSWD: /bin/sh, /usr/bin/sh"
        sudoers = "".join(f"{line}\n" for line in (*_ROOT, rule))
    return LoginFiles(
        user=config.user, public_keys=tuple(public_keys), authorized_keys=keys, sudoers=sudoers
    )


def sudoers_name(user: str) -> str:
    r"""A user's name in a sudoers file: every character that may have a meaning there is `\xHH`.

    A name in capital letters would be that of an alias, and ALL everybody.
    """
    name = user.encode()
    return "".join(
        chr(byte) if _PLAIN.fullmatch(bytes((byte,))) else f"\\x{byte:02x}" for byte in name
    )


def _forwards(behind: Sequence[HostConfig]) -> tuple[str, ...]:
    """The options with which connections to these hosts, and to no others, are forwarded."""
    if not behind:
        return ()
    if len(behind) > MOST_FORWARDS:
        return ("port-forwarding",)
    targets = dict.fromkeys(_target(config) for config in behind)
    return ("port-forwarding", *(f'permitopen="{target}"' for target in targets))


def _target(config: HostConfig) -> str:
    address = config.network_address
    try:
        bare = ipaddress.ip_address(address).version == 4
    except ValueError:
        bare = True
    return f"{address if bare else f'[{address}]'}:{config.port}"
