"""Text that commands print for a terminal: decoded, without what colours it."""

import re

# Control sequences of ECMA-48, section 5.4: an introducer, parameters, intermediate bytes and a final byte.
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def plain_text(data: bytes | bytearray) -> str:
    """What a command printed, as text.

    A host whose configuration asks for colours (`useColors` of zypper.conf(5), `color` of dnf.conf(5), a
    wrapper) prints them also where nobody looks; no parser is to meet them. Bytes that are no UTF-8 become
    U+FFFD.
    """
    text = data.decode("utf-8", "replace")
    return _CONTROL_SEQUENCE.sub("", text) if "\x1b[" in text else text
