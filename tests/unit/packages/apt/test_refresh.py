"""Why a refresh of apt's lists failed, whether that passes by itself, and whether the host has lists all the same.

The messages are those of apt 2.6.2 (Debian 12) and apt 3.0.4 (Debian 13), which were given archives made for the
purpose; only the address of the archive was replaced.
"""

import pytest

from tendhost.server.domain import host_errors
from tendhost.server.domain.host_errors import ArchiveUntrusted, RefreshFailed
from tendhost.server.engine.steps.package_errors import host_error
from tendhost.server.packages.apt.refresh import PATIENTLY, refresh_problems
from tendhost.server.packages.errors import (
    LockHeld,
    NotRefreshed,
    PackageCommandFailed,
    PackageError,
    SourceUntrusted,
)
from tendhost.server.packages.script import Part, framed_script
from tests.unit.packages.test_shells import run

SOURCE = "http://deb.example.org/dists/bookworm/InRelease"
IGNORED = (
    "E: Some index files failed to download. They have been ignored, or old ones used instead.\n"
)
OLD_USED = (
    "W: An error occurred during the signature verification. The repository is not updated and the previous"
    " index files will be used. "
)


def not_verified_by_apt_2(words: str) -> str:
    return (
        f"{OLD_USED}GPG error: http://deb.example.org bookworm InRelease: {words}\n"
        f"E: Failed to fetch {SOURCE}  {words}\n{IGNORED}"
    )


def not_verified_by_apt_3(words: str) -> str:
    said = f"Sub-process /usr/bin/sqv returned an error code (1), error message is: {words}"
    return (
        f"{OLD_USED}OpenPGP signature verification failed: http://deb.example.org bookworm InRelease: {said}\n"
        f"E: Failed to fetch {SOURCE}  {said}\n{IGNORED}"
    )


def hook(event: str, command: str) -> str:
    return (
        f"E: Problem executing scripts {event} '{command}'\nE: Sub-process returned an error code\n"
    )


NO_KEY = (
    "The following signatures couldn't be verified because the public key is not available:"
    " NO_PUBKEY 6D59968B2CF500EB"
)
UNTRUSTED = {
    "unknown key": (not_verified_by_apt_2(NO_KEY), NO_KEY),
    "expired key": (
        not_verified_by_apt_2(
            "The following signatures were invalid: EXPKEYSIG CC901D892CFCE729 <a@b>"
        ),
        "The following signatures were invalid: EXPKEYSIG CC901D892CFCE729",
    ),
    "tampered": (
        not_verified_by_apt_2(
            "The following signatures were invalid: BADSIG AE0D05FEB2BB8A5E <a@b>"
        ),
        "The following signatures were invalid: BADSIG",
    ),
    "unknown key, sqv": (
        not_verified_by_apt_3("Missing key D425F589B076CA0F, which is needed to verify signature."),
        "Missing key D425F589B076CA0F, which is needed to verify signature.",
    ),
    "tampered, sqv": (
        not_verified_by_apt_3("Verifying signature:            Message has been manipulated"),
        "Verifying signature: Message has been manipulated",
    ),
    "no keyring, sqv": (
        not_verified_by_apt_3(
            'Error: Failed to parse keyring "/etc/apt/keyrings/none.asc"  Caused by:'
        ),
        'Error: Failed to parse keyring "/etc/apt/keyrings/none.asc"',
    ),
    "first refresh, sqv": (
        "W: OpenPGP signature verification failed: http://deb.example.org bookworm InRelease: Sub-process"
        " /usr/bin/sqv returned an error code (1), error message is: Missing key D425F589B076CA0F, which is"
        " needed to verify signature.\n"
        "E: The repository 'http://deb.example.org bookworm InRelease' is not signed.\n",
        "Missing key D425F589B076CA0F",
    ),
    "expired": (
        f"E: Release file for {SOURCE} is expired (invalid since 1057d 7h 28min 44s). Updates for this"
        " repository will not be applied.\n",
        f"Release file for {SOURCE} is expired",
    ),
    "early": (
        f"E: Release file for {SOURCE} is not valid yet (invalid for another 2d 23h 59min 44s). Updates for"
        " this repository will not be applied.\n",
        f"Release file for {SOURCE} is not valid yet",
    ),
    "unsigned": (
        "E: The repository 'http://deb.example.org bookworm Release' is no longer signed.\n",
        "is no longer signed.",
    ),
}
LASTING = {
    "label": (
        "E: Repository 'http://deb.example.org bookworm InRelease' changed its 'Label' value from 'Debian'"
        " to 'Other'\n",
        "changed its 'Label' value from 'Debian' to 'Other'; where that is right, apt-get update"
        " --allow-releaseinfo-change accepts it",
    ),
    "suite": (
        "E: Repository 'http://deb.example.org bullseye InRelease' changed its 'Suite' value from 'stable'"
        " to 'oldstable'\n"
        "N: This must be accepted explicitly before updates for this repository can be applied. See"
        " apt-secure(8) manpage for details.\n",
        "changed its 'Suite' value from 'stable' to 'oldstable'",
    ),
    "codename": (
        "W: Conflicting distribution: http://deb.example.org bookworm InRelease (expected bookworm but got"
        " trixie)\n"
        "E: Repository 'http://deb.example.org bookworm InRelease' changed its 'Codename' value from"
        " 'bookworm' to 'trixie'\n",
        "changed its 'Codename' value from 'bookworm' to 'trixie'",
    ),
    "before": (
        hook("APT::Update::Pre-Invoke", "exit 1"),
        "hook APT::Update::Pre-Invoke failed: exit 1",
    ),
    "malformed": (
        "E: Type 'dep' is not known on line 1 in source list /etc/apt/sources.list\n"
        "E: The list of sources could not be read.\n",
        "Type 'dep' is not known on line 1 in source list /etc/apt/sources.list",
    ),
    "stanza": (
        "E: Unable to parse package file /etc/apt/sources.list.d/x.sources (1)\n"
        "E: The list of sources could not be read.\n",
        "Unable to parse package file /etc/apt/sources.list.d/x.sources (1)",
    ),
    "method": (
        "E: The method driver /usr/lib/apt/methods/tor+http could not be found.\n"
        f"E: Failed to fetch tor+{SOURCE}  \n{IGNORED}",
        "The method driver /usr/lib/apt/methods/tor+http could not be found.",
    ),
}
# As people report them; none was at hand to ask.
LASTING |= {
    "certificate": (
        f"E: Failed to fetch {SOURCE}  Certificate verification failed: The certificate is NOT trusted. The"
        " certificate chain uses expired certificate.  Could not handshake: Error in the certificate"
        f" verification. [IP: 192.0.2.1 443]\n{IGNORED}",
        "Certificate verification failed: The certificate is NOT trusted.",
    ),
    "no certificates": (
        f"W: {SOURCE}: No system certificates available. Try installing ca-certificates.\n"
        "E: The repository 'http://deb.example.org bookworm Release' does not have a Release file.\n",
        "No system certificates available. Try installing ca-certificates.",
    ),
    "password": (
        f"E: Failed to fetch {SOURCE}  401  Unauthorized [IP: 192.0.2.1 80]\n{IGNORED}",
        "401 Unauthorized",
    ),
}
PASSING = {
    "resolving": f"E: Failed to fetch {SOURCE}  Temporary failure resolving 'deb.example.org'\n{IGNORED}",
    "refused": f"E: Failed to fetch {SOURCE}  Could not connect to deb.example.org:80\n{IGNORED}",
    "absent": "E: The repository 'http://deb.example.org bookworm Release' no longer has a Release file.\n",
    "mismatch": (
        f"E: Failed to fetch {SOURCE}  Hash Sum mismatch\n   Hashes of expected file:\n    - SHA256:00\n"
        f"   Last modification reported: Mon, 30 Nov 2026 07:26:00 +0000\n{IGNORED}"
    ),
}
AFTER = "APT::Update::Post-Invoke-Success"
APPSTREAM = hook(
    AFTER, "/usr/bin/test ! -x /usr/bin/appstreamcli || appstreamcli refresh > /dev/null"
)


def refreshed(stderr: str, *, has_lists: bool = True) -> PackageError:
    (problem,) = refresh_problems(Part(100, "", stderr), has_lists=has_lists)
    return problem


@pytest.mark.parametrize("name", UNTRUSTED)
def test_archive_that_is_not_trusted__is_told_with_its_reason_and_never_tried_again(
    name: str,
) -> None:
    stderr, words = UNTRUSTED[name]
    problem = refreshed(stderr)
    assert isinstance(problem, SourceUntrusted)
    assert problem.text.startswith(words) or problem.text.endswith(words)
    error = host_error("web1", problem)
    assert isinstance(error, ArchiveUntrusted)
    assert not error.may_pass


@pytest.mark.parametrize("name", LASTING)
def test_refresh_that_fails_until_somebody_acts__is_not_tried_again(name: str) -> None:
    stderr, words = LASTING[name]
    problem = refreshed(stderr)
    assert type(problem) is NotRefreshed
    assert words in problem.text
    error = host_error("web1", problem)
    assert type(error) is RefreshFailed
    assert not error.may_pass


@pytest.mark.parametrize("name", PASSING)
def test_refresh_that_fails_for_the_network_or_a_mirror_at_work__is_tried_again(name: str) -> None:
    problem = refreshed(PASSING[name])
    assert type(problem) is NotRefreshed
    assert problem.sources
    assert host_error("web1", problem).may_pass


@pytest.mark.parametrize("name", [*LASTING, *PASSING])
def test_failed_refresh__says_whether_the_host_has_lists(name: str) -> None:
    stderr = LASTING[name][0] if name in LASTING else PASSING[name]
    kept = "; the lists that the host had are still there"
    assert str(refreshed(stderr, has_lists=True)).endswith(kept)
    assert kept not in str(refreshed(stderr, has_lists=False))


@pytest.mark.parametrize("event", [AFTER, "APT::Update::Post-Invoke"])
def test_hook_that_fails_once_the_lists_are_there__leaves_a_refresh_that_says_so(
    event: str,
) -> None:
    problem = refreshed(hook(event, "exit 3"))
    assert isinstance(problem, NotRefreshed)
    assert (problem.fetched, problem.lasting) == (True, True)
    assert (
        str(problem) == f"the package lists were downloaded, but apt's hook {event} failed: exit 3"
    )
    assert not host_error("web1", problem).may_pass


def test_hook_that_fails_after_an_archive_that_did__leaves_no_lists_that_are_new() -> None:
    problem = refreshed(PASSING["absent"] + hook("APT::Update::Post-Invoke", "exit 3"))
    assert isinstance(problem, NotRefreshed)
    assert not problem.fetched
    assert problem.sources == ("http://deb.example.org bookworm Release",)


@pytest.mark.parametrize(
    "said",
    [
        "sh: 1: appstreamcli: not found",
        "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 472 (apt-get)\n"
        "E: Unable to lock directory /var/lib/apt/lists/",
        "tee: /var/log/updates: No space left on device",
        "curl: (13: Permission denied)",
    ],
)
def test_words_of_a_hook__are_the_hooks(said: str) -> None:
    problem = refreshed(f"{said}\n{APPSTREAM}")
    assert isinstance(problem, NotRefreshed)
    assert (problem.fetched, problem.lasting) == (True, True)
    assert AFTER in problem.text


def test_lock_of_the_lists__is_a_lock() -> None:
    held = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 75 (apt)\n"
    problem = refreshed(f"{held}E: Unable to lock directory /var/lib/apt/lists/\n")
    assert isinstance(problem, LockHeld)
    assert host_error("web1", problem).may_pass
    assert isinstance(host_error("web1", problem), host_errors.PackageManagerLocked)


def test_read_only_disk__is_no_archive_that_lacks_something() -> None:
    unlinked = "W: Problem unlinking the file /var/lib/apt/lists/partial/x - PrepareFiles (30: Read-only file system)\n"
    assert isinstance(refreshed(unlinked + PASSING["absent"]), PackageCommandFailed)


def test_hook_that_does_not_get_its_lock__is_not_waited_for() -> None:
    script = framed_script(
        'as_root() { "$@"; }',
        PATIENTLY,
        "update() { echo ran >&2",
        "  echo 'E: Could not get lock /x. It is held by process 7 (apt-get)' >&2",
        f'  echo "E: Problem executing scripts {AFTER} x" >&2; return 100; }}',
        "part refresh patiently 1 update",
    )
    assert run(["sh"], script).count(b"ran\n") == 1
