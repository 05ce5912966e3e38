"""The lines in which dnf, yum, zypper and rpm name the cause of a failure, before what they conclude from it.

dnf ends with "GPG check FAILED", "All mirrors were tried" or "Transaction test error:", zypper with "Please see the
above error message for a hint.": which package, which status of HTTP and which file it was stands above or below.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tendhost.server.packages.failures import LONGEST_REASON, one_line
from tendhost.server.packages.terminal import without_credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCause:
    """Why a transaction or a refresh failed."""

    reason: str
    """One line, as it was printed."""
    packages: tuple[str, ...] = ()
    """Names of the packages at fault."""


MOST_REASONS = 3
"""Of several reasons of one kind, so many are named: LONGEST_REASON holds no more long addresses."""

# file /usr/share/a from install of new-2-1.noarch conflicts with file from package old-1-1.noarch
# file /usr/share/a conflicts between attempted installs of new-2-1.noarch and other-2-1.noarch
_FILE_CONFLICT = re.compile(
    r"^(?:.*RPM failed:)?[ \t-]*(?P<reason>file /.*? (?:from install of (?P<new>\S+) conflicts with file from"
    r" package (?P<old>\S+)|conflicts between attempted installs of (?P<one>\S+) and (?P<other>\S+)))",
    re.MULTILINE,
)
# File /usr/share/a
#   from install of
#      new-2-1.noarch (Fleet)
#   conflicts with file from package
#      old-1-1.noarch (@System)          or: conflicts with file from install of
_FILE_CONFLICT_OF_ZYPPER = re.compile(
    r"^File /.*\n  from install of\n +(?P<new>\S+).*\n"
    r"  conflicts with file from (?:package|install of)\n +(?P<old>\S+).*$",
    re.MULTILINE,
)


def file_conflict(output: str) -> FailureCause | None:
    """Two packages that bring the same file with different contents."""
    reasons, packages = [], []
    for match in _FILE_CONFLICT.finditer(output):
        reasons.append(match["reason"])
        packages += [match["new"] or match["one"], match["old"] or match["other"]]
    for match in _FILE_CONFLICT_OF_ZYPPER.finditer(output):
        reasons.append(match[0][:1].lower() + match[0][1:])
        packages += [match["new"], match["old"]]
    return _cause(reasons, packages)


# Package new-2-1.noarch.rpm is not signed                                                    (dnf 4, yum)
# Public key for new-2-1.noarch.rpm is not installed. Failing package is: new-2-1.noarch      (dnf 4, yum)
# OpenPGP check for package "new-2-1.noarch" (/var/…) from repo "fleet" has failed: The package is not signed.  (dnf 5)
# new-2-1.noarch (Fleet): Signature verification failed [6-File is unsigned]                  (zypper)
_UNTRUSTED = (
    re.compile(r"^Package (?P<package>\S+?)(?:\.rpm)? is not signed\b", re.MULTILINE),
    re.compile(r"^Public key for (?P<package>\S+?)(?:\.rpm)? is not installed\b", re.MULTILINE),
    re.compile(
        r"^OpenPGP check for package \"(?P<package>[^\"\n]+)\"(?P<path> \(.*?\)) from repo .*$",
        re.MULTILINE,
    ),
    re.compile(
        r"^(?P<package>\S+) \(.*\): Signature verification failed(?: \[.*\])?", re.MULTILINE
    ),
)
_KEYS_DO_NOT_FIT = re.compile(r"^The GPG keys listed for the .* are not correct.*$", re.MULTILINE)
_FAILING_PACKAGE = re.compile(r"^ *Failing package is: (\S+)", re.MULTILINE)
_NO_KEYS = re.compile(r"^Problem repository: (.*)$", re.MULTILINE)
_NO_KEYS_SIGN = "you do not have any GPG public keys installed"


def untrusted_packages(output: str) -> FailureCause | None:
    """Packages that are not signed, or not by a key that the host knows."""
    reasons, packages = [], []
    for pattern in _UNTRUSTED:
        for match in pattern.finditer(output):
            path = match.groupdict().get("path") or ""
            reasons.append(match[0].replace(path, "", 1) if path else match[0])
            packages.append(match["package"])
    if not reasons and (keys := _KEYS_DO_NOT_FIT.search(output)):
        packages = _FAILING_PACKAGE.findall(output)
        reasons = [f"{keys[0]} Failing package is: {', '.join(packages)}" if packages else keys[0]]
    if not reasons and _NO_KEYS_SIGN in output:
        repository = _NO_KEYS.search(output)
        where = f" of repository {repository[1]}" if repository else ""
        reasons = [f"the packages{where} are to be checked (gpgcheck), and the host has no GPG key"]
    return _cause(reasons, packages)


# Status code: 403 for https://cdn.example/repodata/repomd.xml (IP: 192.0.2.1)       (dnf 4 and 5)
# Curl error (6): Couldn't resolve host name for https://cdn.example/…               (dnf 4 and 5)
# https://cdn.example/…: [Errno 14] HTTP Error 403 - Forbidden                       (yum 3)
# Permission to access 'https://cdn.example/new-2-1.noarch.rpm' denied.              (zypper)
# Location 'https://cdn.example/new-2-1.noarch.rpm' is temporarily unaccessible.     (zypper)
_REFUSED = re.compile(
    r"Status code: \d{3} for \S+(?: \(IP: [^()\n]*\))?"
    r"|Curl error \(\d+\): .*?(?= - \w+:/|$)"
    r"|^\w+://\S+: \[Errno \d+\] (?:HTTP Error|curl#).*$"
    r"|^Permission to access '.*' denied\.?"
    r"|^Location '.*' is temporarily unaccessible\.?",
    re.MULTILINE,
)


def refused_download(output: str) -> FailureCause | None:
    """The answers of HTTP and the errors of curl, instead of the mirrors that were all tried."""
    return _cause(_REFUSED.findall(output), ())


# No credentials, an expired subscription, a proxy that wants a password, an archive that is gone; and what
# libcurl-errors(3) says of certificates (SSL_CERTPROBLEM, PEER_FAILED_VERIFICATION, SSL_CACERT_BADFILE).
_LASTING = re.compile(
    r"Status code: (?:401|403|407|410) |Curl error \((?:58|60|77)\): |HTTP Error (?:401|403|407|410) "
    r"|curl#(?:58|60|77) |^Permission to access '.*' denied"
)


def refused_for_long(output: str) -> bool:
    """Whether every answer is one that a later refresh gets, too, until somebody changes the host or the archive."""
    answers = _REFUSED.findall(output)
    return bool(answers) and all(_LASTING.search(answer) for answer in answers)


# Modular dependency problems:      (dnf 4; dnf 5: "Modular dependency problems with the defaults:")
#
#  Problem 1: conflicting requests
#   - nothing provides module(platform:el8) needed by module perl:5.26:…
_MODULAR = re.compile(
    r"^Modular dependency problem.*\n(?:\s*\n)?(?: ?Problem.*\n?(?: +- .*\n?)*(?:\s*\n)?)*",
    re.MULTILINE,
)
_RESOLVED = re.compile(r"^Transaction Summary:?\s*$", re.MULTILINE)


def without_noise(output: str) -> str:
    """The output of dnf or yum without problems that it got over: those of modules, and all before it had a plan."""
    output = _MODULAR.sub("", output)
    return _RESOLVED.split(output)[-1]


# Error:
#  Problem 1: conflicting requests
#   - nothing provides libx needed by new-2-1.noarch
_PROBLEM = re.compile(r"^ *Problem(?: \d+)?: .*(?:\n +- .*)*", re.MULTILINE)


def unmet_dependency(output: str) -> FailureCause | None:
    """The first problem of the solver, with what it follows from."""
    return _cause(_PROBLEM.findall(output)[:1], ())


def with_details(output: str, error: re.Match[str]) -> str:
    """The line of an error; where it announces what follows, with the lines up to the next empty one."""
    line = error[0].strip()
    if not line.endswith((":", "failed.")):
        return line
    details = []
    for following in output[error.end() :].removeprefix("\n").split("\n"):
        if not following.strip():
            break
        if not following.startswith("Warning:"):
            details.append(following)
    return " ".join((line, *details))


def one_reason(text: str) -> str:
    """The text as one line, without the name and the password that an address may hold."""
    return one_line(without_credentials(text))


def _cause(reasons: Iterable[str], packages: Iterable[str]) -> FailureCause | None:
    unique = list(dict.fromkeys(one_reason(reason) for reason in reasons))
    if not unique:
        return None
    named, more = unique[:MOST_REASONS], len(unique) - MOST_REASONS
    text = "; ".join(named)[: LONGEST_REASON - 20] + (f"; and {more} more" if more > 0 else "")
    names = dict.fromkeys(_name(package) for package in packages)
    return FailureCause(reason=text, packages=tuple(names))


def _name(nevra: str) -> str:
    """The name of a package of which there may be the version, the release and the architecture, too."""
    parts = nevra.rsplit("-", 2)
    return parts[0] if len(parts) == 3 else nevra
