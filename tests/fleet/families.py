"""What makes a host one of a family: the layers below it, and where it says its updates come from."""

from dataclasses import dataclass
from typing import Literal, get_args

from tests.fleet.errors import FleetError

Family = Literal["debian", "dnf", "zypper"]
Release = Literal["bookworm", "trixie"]
"""The codename of the Debian that a host is, or that lies under its family: 12 and 13."""
Compose = Literal["v1", "v2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecipe:
    """Debian packages, installed over the layers below and finished by ``scripts/layers/NAME.sh``."""

    name: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRecipe:
    """The layers of a family, lowest first, and the file that names the source of its updates.

    ``{url}`` in the source is the address of what a host is offered, ``{release}`` its Debian.
    """

    layers: tuple[LayerRecipe, ...]
    source_path: str
    source: str


RPM = LayerRecipe(name="rpm", packages=("rpm", "createrepo-c"))
"""Also what the RPM repositories are built with."""

DNF = LayerRecipe(name="dnf", packages=("dnf", "dnf-plugins-core"))
ZYPPER = LayerRecipe(name="zypper", packages=("zypper",))
OSQUERY = LayerRecipe(name="osquery", packages=("sqlite3",))
SHELLS = LayerRecipe(name="shells", packages=("csh", "fish", "tcsh", "zsh"))
"""Login shells beside bash, dash and rbash."""
PYTHON = LayerRecipe(name="python", packages=("python3", "python3-venv"))
"""The Python of the host's Debian, for hosts that are to run a server themselves."""
_DOCKER = LayerRecipe(name="docker", packages=("docker.io", "iptables"))
_COMPOSE_V1 = LayerRecipe(name="compose-v1", packages=("docker-compose",))
DOCKER_LAYERS: dict[Compose, tuple[LayerRecipe, ...]] = {
    "v1": (_DOCKER, _COMPOSE_V1),
    "v2": (_DOCKER,),  # its compose is a plugin, a layer without packages
}
REGISTRY = LayerRecipe(name="registry", packages=("docker-registry", "busybox-static"))
"""What the lab takes its registry and the images their programs from; no host has it."""

FAMILIES: dict[Family, FamilyRecipe] = {
    "debian": FamilyRecipe(
        layers=(),
        source_path="etc/apt/sources.list",
        source="".join(
            f"deb [signed-by=/etc/apt/keyrings/fleet.asc] {{url}} {suite} main\n"
            for suite in ("{release}", "{release}-security")
        ),
    ),
    # Only the index is signed, so only that can be checked.
    "dnf": FamilyRecipe(
        layers=(RPM, DNF),
        source_path="etc/yum.repos.d/fleet.repo",
        source=(
            "[fleet]\nname=Fleet\nbaseurl={url}\nenabled=1\nskip_if_unavailable=False\n"
            "metadata_expire=6h\ngpgcheck=0\nrepo_gpgcheck=1\n"
            "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-fleet\n"
        ),
    ),
    "zypper": FamilyRecipe(
        layers=(RPM, ZYPPER),
        source_path="etc/zypp/repos.d/fleet.repo",
        source=(
            "[fleet]\nname=Fleet\nbaseurl={url}\nenabled=1\nautorefresh=1\ntype=rpm-md\n"
            "gpgcheck=0\nrepo_gpgcheck=1\npkg_gpgcheck=0\n"
        ),
    ),
}


def checked_release(name: str) -> Release:
    for release in get_args(Release):
        if name == release:
            return release  # type: ignore[no-any-return]
    raise FleetError(f"no such release: {name}; there are {', '.join(get_args(Release))}")


def checked_family(name: str) -> Family:
    for family in get_args(Family):
        if name == family:
            return family  # type: ignore[no-any-return]
    raise FleetError(f"no such family: {name}; there are {', '.join(FAMILIES)}")
