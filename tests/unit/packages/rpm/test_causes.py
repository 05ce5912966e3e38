"""Why recorded transactions of dnf 4, dnf 5 and zypper failed: the cause in one line, not what follows from it."""

import pytest

from tendhost.server.engine.steps.package_errors import host_error
from tendhost.server.packages.errors import NotRefreshed
from tendhost.server.packages.failures import FailureKind, PackageFailure
from tendhost.server.packages.rpm.causes import one_reason, refused_download, refused_for_long
from tests.unit.packages.recordings import exit_status, log, manager_of, query

FOUR, FIVE, ZYPPER = "fedora40-dnf4", "fedora42-dnf5", "opensuse-leap15.6"
CONFLICT = "file /usr/share/tb/a from install of fileb-2.0-1.noarch conflicts with file from package filea-1.0-1.noarch"
UNSIGNED = (
    "Package other-2.0-1.noarch.rpm is not signed; Package plain-2.0-1.noarch.rpm is not signed"
)
OPENPGP = 'OpenPGP check for package "other-2.0-1.noarch" from repo "fleet" has failed: '
ADDRESS = "http://127.0.0.1:8000/403/rpm/two"
FORBIDDEN = "; ".join(
    f"Status code: 403 for {ADDRESS}/{name}-2.0-1.noarch.rpm (IP: 127.0.0.1)"
    for name in ("other", "plain")
)
OTHER, FETCH = FailureKind.OTHER, FailureKind.FETCH_FAILED
BOTH = ("other", "plain")
REASONS = {
    f"{FOUR}/upgrade-conflict": (OTHER, CONFLICT, ("fileb", "filea")),
    f"{FOUR}/upgrade-unsigned": (OTHER, UNSIGNED, BOTH),
    f"{FOUR}/upgrade-unknown-key": (
        OTHER,
        "Public key for other-2.0-1.noarch.rpm is not installed;"
        " Public key for plain-2.0-1.noarch.rpm is not installed",
        BOTH,
    ),
    f"{FOUR}/upgrade-no-keys": (
        OTHER,
        "the packages of repository [fleet] are to be checked (gpgcheck), and the host has no GPG key",
        (),
    ),
    f"{FOUR}/upgrade-modular": (OTHER, UNSIGNED, BOTH),
    f"{FOUR}/upgrade-forbidden": (FETCH, FORBIDDEN, ()),
    f"{FOUR}/upgrade-unmet": (
        FailureKind.UNMET_DEPENDENCIES,
        "Problem: package uselib-1.0-1.noarch requires lib = 1.0, but none of the providers can be installed"
        " - cannot install both lib-2.0-1.noarch and lib-1.0-1.noarch"
        " - cannot install the best update candidate for package uselib-1.0-1.noarch"
        " - cannot install the best update candidate for package lib-1.0-1.noarch",
        (),
    ),
    f"{FOUR}/upgrade-disk": (
        FailureKind.DISK_FULL,
        "installing package big-2.0-1.noarch needs 43MB more space on the /usr/share/tb filesystem",
        (),
    ),
    f"{FIVE}/upgrade-conflict": (OTHER, CONFLICT, ("fileb", "filea")),
    f"{FIVE}/upgrade-unsigned": (OTHER, f"{OPENPGP}The package is not signed.", ("other",)),
    f"{FIVE}/upgrade-unknown-key": (
        OTHER,
        f"{OPENPGP}Import of the key didn't help, wrong key?",
        ("other",),
    ),
    f"{FIVE}/upgrade-no-keys": (
        OTHER,
        f"{OPENPGP}The repository does not have any OpenPGP keys configured.",
        ("other",),
    ),
    f"{FIVE}/upgrade-modular": (OTHER, f"{OPENPGP}The package is not signed.", ("other",)),
    f"{FIVE}/upgrade-forbidden": (FETCH, FORBIDDEN, ()),
    f"{ZYPPER}/upgrade-conflict": (
        OTHER,
        "file /usr/share/tb/a from install of fileb-2.0-1.noarch (Fleet) conflicts with file from package"
        " filea-1.0-1.noarch (@System)",
        ("fileb", "filea"),
    ),
    f"{ZYPPER}/upgrade-unsigned": (
        OTHER,
        "plain-2.0-1.noarch (Fleet): Signature verification failed [6-File is unsigned]",
        ("plain",),
    ),
    f"{ZYPPER}/upgrade-unknown-key": (
        OTHER,
        "plain-2.0-1.noarch (Fleet): Signature verification failed [4-Signatures public key is not available]",
        ("plain",),
    ),
    f"{ZYPPER}/upgrade-forbidden": (
        OTHER,
        f"Permission to access '{ADDRESS}/plain-2.0-1.noarch.rpm' denied. (HTTP 403)",
        (),
    ),
    f"{ZYPPER}/upgrade-missing": (
        FETCH,
        "File './plain-2.0-1.noarch.rpm' not found on medium 'http://127.0.0.1:8000/404/rpm/two'",
        (),
    ),
}


def diagnosed(system: str, status: int, output: str) -> PackageFailure:
    failure = manager_of(system).failure(status, output)
    assert failure is not None
    return failure


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_the_cause_with_the_packages_at_fault(name: str) -> None:
    failure = diagnosed(name, exit_status(name), log(name))
    assert (failure.kind, failure.reason, failure.packages) == REASONS[name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            f"{FOUR}/query-forbidden",
            "Status code: 403 for http://127.0.0.1:8000/403/meta/two/repodata/repomd.xml (IP: 127.0.0.1)",
        ),
        (
            f"{FIVE}/query-forbidden",
            "Status code: 403 for http://127.0.0.1:8000/403/meta/two/repodata/repomd.xml (IP: 127.0.0.1)",
        ),
        (
            f"{FOUR}/query-unresolvable",
            "Curl error (6): Couldn't resolve host name for http://nohost",
        ),
        (
            f"{FIVE}/query-unresolvable",
            "Curl error (6): Could not resolve hostname for http://nohost",
        ),
        (
            f"{ZYPPER}/query-unresolvable",
            "Download (curl) error for 'http://nohost.invalid/two/repodata/repomd.xml': Connection failed;"
            " Could not resolve host: nohost.invalid",
        ),
    ],
)
def test_a_failed_refresh_tells_the_status_of_http_or_the_error_of_curl(
    name: str, reason: str
) -> None:
    problem = query(name).problems[0]
    assert isinstance(problem, NotRefreshed)
    assert problem.sources in (("fleet",), ("Fleet",))
    assert problem.text.startswith(reason)


@pytest.mark.parametrize(
    ("name", "lasting"),
    [
        (f"{FOUR}/query-forbidden", True),
        (f"{FIVE}/query-forbidden", True),
        (f"{FOUR}/query-unresolvable", False),
        (f"{FIVE}/query-unresolvable", False),
        (f"{ZYPPER}/query-unresolvable", False),
        (f"{FOUR}/query-absent", False),
    ],
)
def test_a_refresh_that_is_refused_for_long_is_not_tried_again(name: str, lasting: bool) -> None:
    problem = query(name).problems[0]
    assert isinstance(problem, NotRefreshed)
    assert problem.lasting is lasting
    assert host_error("web1", problem).may_pass is not lasting


@pytest.mark.parametrize(
    ("answers", "lasting"),
    [
        (("Status code: 401 for http://a/",), True),
        (("Status code: 407 for http://a/", "Status code: 403 for http://b/"), True),
        (("Status code: 403 for http://a/", "Status code: 503 for http://b/"), False),
        (("Status code: 404 for http://a/",), False),
        (("Curl error (60): SSL peer certificate was not OK for https://a/",), True),
        (("Curl error (28): Timeout was reached for https://a/",), False),
        (("http://a/repomd.xml: [Errno 14] HTTP Error 403 - Forbidden",), True),
        (("Permission to access 'http://a/x.rpm' denied.",), True),
        ((), False),
    ],
)
def test_answers_that_stay_the_same_are_told_from_those_of_the_moment(
    answers: tuple[str, ...], lasting: bool
) -> None:
    assert refused_for_long("\n".join(answers)) is lasting


# As yum 3 prints them, by its source (yum/__init__.py, yum/rpmtrans.py, cli.py of yum 3.4.3).
YUM = {
    "Transaction check error:\n"
    "  file /usr/share/tb/a from install of fileb-2.0-1.noarch conflicts with file from package"
    " filea-1.0-1.noarch\n\nError Summary\n-------------\n": CONFLICT,
    "Transaction check error:\n"
    "  file /a b from install of x-1-1.noarch conflicts with file from package y-1-1.noarch\n"
    "  file /c conflicts between attempted installs of x-1-1.noarch and z-1-1.noarch\n": (
        "file /a b from install of x-1-1.noarch conflicts with file from package y-1-1.noarch;"
        " file /c conflicts between attempted installs of x-1-1.noarch and z-1-1.noarch"
    ),
    "\n\nPackage plain-2.0-1.noarch.rpm is not signed\n": "Package plain-2.0-1.noarch.rpm is not signed",
    '\n\nThe GPG keys listed for the "Fleet" repository are already installed but they are not correct for this'
    " package.\nCheck that the correct key URLs are configured for this repository.\n\n\n"
    " Failing package is: plain-2.0-1.noarch\n GPG Keys are configured as: file:///key\n": (
        'The GPG keys listed for the "Fleet" repository are already installed but they are not correct for this'
        " package. Failing package is: plain-2.0-1.noarch"
    ),
    "http://cdn.example/repodata/repomd.xml: [Errno 14] HTTP Error 403 - Forbidden\nTrying other mirror.\n"
    "failure: repodata/repomd.xml from fleet: [Errno 256] No more mirrors to try.\n": (
        "http://cdn.example/repodata/repomd.xml: [Errno 14] HTTP Error 403 - Forbidden"
    ),
    'http://cdn.example/repodata/repomd.xml: [Errno 14] curl#6 - "Could not resolve host: cdn.example"\n'
    "Trying other mirror.\nNo more mirrors to try.\n": (
        'http://cdn.example/repodata/repomd.xml: [Errno 14] curl#6 - "Could not resolve host: cdn.example"'
    ),
    "Error: Error downloading packages:\n  plain-2.0-1.noarch: Cannot find a valid baseurl\n\n": (
        "Error downloading packages: plain-2.0-1.noarch: Cannot find a valid baseurl"
    ),
    "Error: Transaction test error:\n  package plain-2.0-1.noarch is already installed\n\n": (
        "Transaction test error: package plain-2.0-1.noarch is already installed"
    ),
    "Error: \n Problem: conflicting requests\n  - nothing provides libx needed by a-2-1.noarch\n"
    "(try to add '--skip-broken' to skip uninstallable packages)\n": (
        "Problem: conflicting requests - nothing provides libx needed by a-2-1.noarch"
    ),
    "Error: \n Problem: The operation would result in removing the following protected packages: dnf\n": (
        "Problem: The operation would result in removing the following protected packages: dnf"
    ),
}


@pytest.mark.parametrize("output", YUM)
def test_the_words_of_yum_and_other_errors_of_dnf_have_their_cause(output: str) -> None:
    assert diagnosed(FOUR, 1, output).reason == YUM[output]


def test_problems_that_dnf_got_over_are_not_the_cause() -> None:
    noise = (
        "Modular dependency problems:\n\n Problem 1: conflicting requests\n"
        "  - nothing provides module(platform:el8) needed by module perl:5.26:1:2.x86_64\n"
        " Problem 2: conflicting requests\n"
        "  - nothing provides module(platform:el8) needed by module httpd:2.4:1:2.x86_64\n"
    )
    failed = "Error: GPG check FAILED\n"
    assert diagnosed(FOUR, 1, f"{noise}{failed}").reason == "GPG check FAILED"
    skipped = (
        "Errors during downloading metadata for repository 'extra':\n  - Status code: 404 for http://cdn/x\n"
        "Ignoring repositories: extra\nDependencies resolved.\n\n Problem: cannot install both a-2 and a-1\n"
        "Transaction Summary\n====\nUpgrade  1 Package\n\n"
    )
    assert diagnosed(FOUR, 1, f"{skipped}{failed}").reason == "GPG check FAILED"
    assert diagnosed(FOUR, 1, noise).kind is OTHER


@pytest.mark.parametrize(
    "words", [CONFLICT, UNSIGNED, f"{OPENPGP}The package is not signed.", FORBIDDEN]
)
@pytest.mark.parametrize(("system", "mark"), [(FOUR, ""), (FIVE, ">>> ")])
def test_the_words_of_a_scriptlet_are_not_the_cause(system: str, mark: str, words: str) -> None:
    output = (
        f"Transaction Summary\n\nRunning transaction\n{mark}{words}\nError: Transaction failed\n"
    )
    assert diagnosed(system, 1, output).reason == "Transaction failed"


def test_of_many_reasons_the_first_ones_are_named_and_the_others_counted() -> None:
    lines = "".join(f"Package p{number}-1-1.noarch.rpm is not signed\n" for number in range(12))
    failure = diagnosed(FOUR, 1, f"{lines}Error: GPG check FAILED\n")
    assert failure.reason.count("is not signed") == 3
    assert failure.reason.endswith("; and 9 more")
    assert len(failure.packages) == 12


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Status code: 401 for https://bob:s3cret@cdn.example/x", "https://cdn.example/x"),
        ("Status code: 401 for https://token@cdn.example/x", "https://cdn.example/x"),
        ("Status code: 401 for https://cdn.example/x@y", "https://cdn.example/x@y"),
    ],
)
def test_names_and_passwords_in_addresses_are_not_told(told: str, shown: str) -> None:
    cause = refused_download(told)
    assert cause is not None
    assert cause.reason == f"Status code: 401 for {shown}"
    assert one_reason(told) == cause.reason


def test_hints_of_zypper_are_not_the_cause() -> None:
    output = (
        "Retrieving: other-2.0-1.noarch.rpm [error]\n"
        "Location 'http://cdn.example/other-2.0-1.noarch.rpm' is temporarily unaccessible.\n"
        "Problem occurred during or after installation or removal of packages:\n"
        "Installation has been aborted as directed.\n"
        "Please see the above error message for a hint.\n"
    )
    failure = diagnosed(ZYPPER, 8, output)
    assert failure.transient
    assert failure.reason.startswith("Location 'http://cdn.example/other")
    some = diagnosed(ZYPPER, 8, output.replace("is temporarily unaccessible", "is gone"))
    assert some.reason.startswith("Location 'http://cdn.example/other")
