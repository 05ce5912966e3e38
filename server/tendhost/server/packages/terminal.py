"""Text that commands print for a terminal: decoded, without what colours it, and without passwords of addresses."""

import re

# Control sequences of ECMA-48, section 5.4: an introducer, parameters, intermediate bytes and a final byte.
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# RFC 3986, section 3.2.1. A password may hold an unescaped "@", whatever the RFC says.
_CREDENTIALS = re.compile(r"(\w://)[^/\s'\"]*@")


def plain_text(data: bytes | bytearray) -> str:
    """What a command printed, as text.

    A host whose configuration asks for colours (`useColors` of zypper.conf(5), `color` of dnf.conf(5), a
    wrapper) prints them also where nobody looks; no parser is to meet them. Bytes that are no UTF-8 become
    U+FFFD. Whatever prints an address (dnf, a hook, a mount), its user and password stay out of inventories and
    problems.
    """
    text = data.decode("utf-8", "replace")
    return without_credentials(_CONTROL_SEQUENCE.sub("", text) if "\x1b[" in text else text)


def without_credentials(text: str) -> str:
    """The text without the user and the password that an address in it may have: "https://me:secret@example.com"."""
    return _CREDENTIALS.sub(r"\1", text) if "@" in text else text
