"""The refresh of apt's package lists: its command, and why it failed.

The messages are those of apt 2 and of apt 3, which verifies signatures with sqv(1). apt-secure(8) has the
reasons not to trust an archive; APT::Update::Post-Invoke and its like, of apt.conf(5), are hooks.
"""

import re

from tendhost.server.packages.apt.failures import (
    READ_ONLY,
    closing_errors,
    diagnose,
    hook_failure,
)
from tendhost.server.packages.apt.problems import apt_problem
from tendhost.server.packages.apt.settings import APT_GET
from tendhost.server.packages.errors import (
    DatabaseBroken,
    LockHeld,
    NoSpaceLeft,
    NotRefreshed,
    PackageError,
    SourceUntrusted,
)
from tendhost.server.packages.failures import one_line
from tendhost.server.packages.script import Part

# Error-Mode=any: without it a source that cannot be reached leaves the exit status 0.
_UPDATE = "-qq -o APT::Update::Error-Mode=any update"
UPDATE = f"apt-get {_UPDATE}"
"""For people: without the settings that are given besides."""
UPDATE_COMMAND = f"{APT_GET} {_UPDATE}"

# DPkg::Lock::Timeout covers dpkg's locks and not that of the lists, so the wait is the script's own. A hook
# of apt's that does not get a lock is not waited for: it would run again each second.
PATIENTLY = r"""
patiently() {
  left=$1; shift
  while words=$(as_root "$@" 2>&1); rc=$?; [ $rc != 0 ]; do
    case $words in
      *'Problem executing scripts'*) break ;;
      *'Could not get lock'*) ;;
      *) break ;;
    esac
    [ "$left" -gt 0 ] || break
    sleep 1; left=$((left - 1))
  done
  printf '%s\n' "$words" >&2
  return $rc
}
""".strip()
"""The shell function `patiently SECONDS COMMAND…` runs an apt-get again while it does not get its lock."""

# E: Failed to fetch http://deb.example.org/dists/bookworm/InRelease  Could not connect to …
# E: The repository 'http://deb.example.org bookworm Release' does not have a Release file.
_FETCH = re.compile(r"^(?:[EW]|Error|Warning): Failed to fetch (\S+) +(.*)$", re.MULTILINE)
_ERROR = re.compile(r"^(?:E|Error): (.*)$", re.MULTILINE)
_REPOSITORY = re.compile(r"^(?:[EW]|Error|Warning): The repository '([^'\n]+)' (.*)$", re.MULTILINE)
# In the order of precedence, each with what is told of it: the group `why`, else all of the match.
# W: GPG error: …: The following signatures couldn't be verified because …: NO_PUBKEY 2EF30D53F48FF7B1
# E: The repository 'http://deb.example.org bookworm InRelease' is not signed.
# E: Release file for http://deb.example.org/InRelease is expired (invalid since 2d 3h 4min 5s). …
# E: Failed to fetch …  Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key
#    6D59968B2CF500EB, which is needed to verify signature.      (apt 3)
_DISTRUST = tuple(
    re.compile(pattern)
    for pattern in (
        r"The following signatures .*|At least one invalid signature was encountered.*",
        r"Sub-process \S*(?:sqv|gpgv|sq) returned an error code.*?, error message is: (?P<why>.+)",
        r"OpenPGP signature verification failed: .*",
        r"Release file for \S+ is (?:expired|not valid yet).*",
        r"The repository '[^'\n]+' is (?:not|no longer) signed\.",
    )
)
# E: Repository 'http://deb.example.org bookworm InRelease' changed its 'Suite' value from 'stable' to 'oldstable'
_CHANGED = re.compile(r"Repository '([^'\n]+)' changed its '[A-Za-z]+' value from .*")
# What the next refresh finds again, until somebody changes the host or the archive.
_LASTING = re.compile(
    r"^(?:[EW]|Error|Warning): (?:(?P<cause>.*(?:The method driver \S+ could not be found"
    r"|Certificate verification failed|No system certificates available|  401  ).*)"
    r"|The list of sources could not be read.*)$",
    re.MULTILINE,
)


def refresh_problems(part: Part, *, has_lists: bool) -> list[PackageError]:
    """What the part `refresh` says went wrong; `has_lists`: whether the host has package lists after it."""
    told = closing_errors(part.stderr)
    failed = _FETCH.findall(told) or _REPOSITORY.findall(told)
    # An apt that does not know Error-Mode ends with 0 and a warning.
    if part.status == 0 and not failed:
        return []
    if hook := hook_failure(part.stderr):
        return [_after_hook(hook.reason, _sources(failed), has_lists=has_lists)]
    problem = apt_problem(UPDATE, part.status, part.stderr)
    if isinstance(problem, LockHeld | NoSpaceLeft | DatabaseBroken):
        return [problem]
    if READ_ONLY in part.stderr:
        # apt takes what it cannot write for what an archive does not have.
        return [problem]
    if distrust := _distrust(told):
        return [SourceUntrusted(sources=_sources(failed), text=distrust, has_lists=has_lists)]
    if changed := _CHANGED.search(told):
        accept = "where that is right, apt-get update --allow-releaseinfo-change accepts it"
        return [
            NotRefreshed(
                sources=tuple(dict.fromkeys(match[1] for match in _CHANGED.finditer(told))),
                text=one_line(f"{changed[0]}; {accept}"),
                lasting=True,
                has_lists=has_lists,
            )
        ]
    lasting = _LASTING.search(told)
    text = next((words for _, words in failed if words), "")
    if lasting and (cause := lasting["cause"] or _first_error(told)):
        text = one_line(cause)
    elif not text:
        text = diagnose(part.status, told or part.stderr).reason
    return [
        NotRefreshed(
            sources=_sources(failed), text=text, lasting=lasting is not None, has_lists=has_lists
        )
    ]


def _after_hook(hook: str, sources: tuple[str, ...], *, has_lists: bool) -> NotRefreshed:
    """Of the hooks those named "Post" run once the lists are fetched, as far as no source failed."""
    fetched = "::Post-Invoke" in hook and not sources
    return NotRefreshed(
        sources=sources, text=hook, lasting=True, fetched=fetched, has_lists=has_lists
    )


def _first_error(told: str) -> str:
    match = _ERROR.search(told)
    return match[1] if match else ""


def _sources(failed: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address for address, _ in failed))


def _distrust(told: str) -> str:
    """Why apt does not trust an archive; empty where that is not the matter."""
    for pattern in _DISTRUST:
        if match := pattern.search(told):
            return one_line(match.groupdict().get("why") or match[0])
    return ""
