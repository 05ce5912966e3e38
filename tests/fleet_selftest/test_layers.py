"""A fleet makes the layers that its hosts stand on, each once, and no other."""

from pathlib import Path

import pytest

from tests.fleet.base import Base


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scripts that were run to build something; each only makes the folder that it was to fill."""
    ran: list[str] = []

    def build(_what: str, command: list[str], _log: Path, _lock: int) -> None:
        ran.append(command[0])
        Path(command[1] if command[0] == "build-base.sh" else command[2]).mkdir()

    monkeypatch.setattr("tests.fleet.base._build", build)
    return ran


def test_debian_host_needs_nothing_of_the_other_families(base: Base, scripts: list[str]) -> None:
    layers = base.layers(init="systemd", packages=("tb-simple",))
    assert [layer.parent.name for layer in layers[:-1]] == ["packages"]
    assert layers[-1] == base.folder / "debian"
    assert scripts == ["layer.sh"]


def test_families_share_what_they_have_in_common(base: Base, scripts: list[str]) -> None:
    dnf = base.layers(init="tiny", packages=("tb-simple",), family="dnf")
    assert [layer.name for layer in dnf[1:]] == ["tiny", "rpm-dnf", "rpm", "debian"]
    assert scripts.count("build-rpm-repositories.sh") == 1
    already = len(scripts)
    zypper = base.layers(init="systemd", packages=("tb-simple",), family="zypper", osquery=True)
    names = [layer.name for layer in zypper[1:]]
    assert names == ["rpm-zypper-osquery", "rpm-zypper", "rpm", "debian"]
    assert scripts[already:] == ["build-layer.sh", "build-layer.sh", "layer.sh"]


def test_layer_is_made_once(base: Base, scripts: list[str]) -> None:
    first = base.layers(init="systemd", packages=("tb-slow", "tb-simple"), osquery=True)
    made = len(scripts)
    again = base.layers(init="systemd", packages=("tb-simple", "tb-slow"), osquery=True)
    assert again == first
    assert len(scripts) == made
    assert base.layers(init="systemd", packages=("tb-simple", "tb-slow"))[0] != first[0]


def test_other_release_is_a_base_of_its_own_made_once(base: Base, scripts: list[str]) -> None:
    assert base.of("bookworm") is base
    assert scripts == []
    trixie = base.of("trixie")
    assert trixie.folder == base.folder / "trixie"
    assert base.of("trixie") == trixie
    assert scripts == ["build-base.sh"]
    layers = trixie.layers(init="systemd", packages=("tb-simple",))
    assert layers[-1] == base.folder / "trixie" / "debian"
