"""Messages of rpm about failed scriptlets and kept configuration files."""

import re
from collections.abc import Callable

from tendhost.server.packages.failures import FailureKind, PackageFailure, one_line

# warning: %post(tb-badpost-2.0-1.noarch) scriptlet failed, exit status 1
# error: %prein(tb-badpre-2.0-1.noarch) scriptlet failed, exit status 1
# [RPM] %post(tb-badpost-2.0-1.noarch) scriptlet failed, exit status 1     (dnf 5)
_SCRIPTLET = re.compile(
    r"%(?P<script>[a-z]+)\((?P<package>[^()\s]+)-[^-()\s]+-[^-()\s]+\) scriptlet failed,"
    r" (?P<how>exit status [0-9]+|signal [0-9]+)"
)
_SCRIPTS = {
    "prein": "pre-install",
    "pre": "pre-install",
    "post": "post-install",
    "postin": "post-install",
    "preun": "pre-remove",
    "postun": "post-remove",
    "pretrans": "pre-transaction",
    "posttrans": "post-transaction",
}


def script_name(scriptlet: str) -> str:
    """The scriptlet as people know it: "post-install" for "post"."""
    return _SCRIPTS.get(scriptlet, scriptlet)


def scriptlet_failure(output: str, *, last_message: Callable[[str], str]) -> PackageFailure | None:
    """The scriptlets that failed, with the message of the first one; None where none failed.

    `last_message` finds what the scriptlet itself printed, if anything, at the end of the output
    before rpm's line about it.
    """
    matches = list(_SCRIPTLET.finditer(output))
    if not matches:
        return None
    first = matches[0]
    failed = f"{first['package']}: {script_name(first['script'])} script failed ({first['how']})"
    message = last_message(output[: first.start()])
    return PackageFailure(
        kind=FailureKind.SCRIPT_FAILED,
        reason=one_line(f"{failed}: {message}" if message else failed),
        packages=tuple(dict.fromkeys(match["package"] for match in matches)),
    )


# error: unpacking of archive failed on file /usr/share/tb/version;6743f1: cpio: write failed - No space left on device
# >>> [RPM] unpacking of archive failed …     (dnf 5)
# Error: Subprocess failed. Error: RPM failed: error: unpacking of archive failed …     (zypper)
_OWN_ERROR = re.compile(r"^(?:.*RPM failed: )?(?:error: |>>> \[RPM\] |\[RPM\] ).*$", re.MULTILINE)


def rpm_errors(output: str) -> str:
    """Of the output of a transaction that runs, rpm's own lines of errors; scriptlets print the others."""
    return "\n".join(_OWN_ERROR.findall(output))


# warning: /etc/tb.conf created as /etc/tb.conf.rpmnew
# >>> [RPM] /etc/tb.conf created as /etc/tb.conf.rpmnew     (dnf 5)
_WARNING = r"^(?:warning: |(?:>>> )?\[RPM\] )"
_RPMNEW = re.compile(rf"{_WARNING}(/\S.*) created as \1\.rpmnew$", re.MULTILINE)
_RPMSAVE = re.compile(rf"{_WARNING}(/\S.*) saved as (\1\.rpm(?:save|orig))$", re.MULTILINE)


def kept_conffiles(output: str) -> tuple[str, ...]:
    """Configuration files whose local version rpm kept: the package's lies beside it as .rpmnew."""
    return tuple(dict.fromkeys(_RPMNEW.findall(output)))


def saved_conffiles(output: str) -> tuple[str, ...]:
    """Where the local versions of configuration files lie that rpm replaced or removed: .rpmsave, .rpmorig."""
    return tuple(dict.fromkeys(saved for _, saved in _RPMSAVE.findall(output)))
