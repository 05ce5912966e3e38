"""Configuration files that rpm kept, replaced or removed, by the logs of dnf 4, dnf 5 and zypper."""

import pytest

from tests.unit.packages.recordings import log, manager_of

SYSTEMS = ("fedora40-dnf4", "fedora42-dnf5", "opensuse-leap15.6")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_former_versions_of_replaced_and_removed_files_are_named(system: str) -> None:
    manager = manager_of(system)
    text = log(f"{system}/upgrade-config")
    assert manager.saved_conffiles(text) == ("/etc/tb.conf.rpmsave", "/etc/tb-gone.conf.rpmsave")
    assert manager.kept_conffiles(text) == ()


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("mark", ["warning: ", ">>> [RPM] ", "[RPM] "])
def test_kept_files_and_files_of_no_package_are_named_as_well(system: str, mark: str) -> None:
    manager = manager_of(system)
    text = (
        f"{mark}/etc/a b.conf created as /etc/a b.conf.rpmnew\n"
        f"{mark}/etc/c.conf saved as /etc/c.conf.rpmorig\n"
        f"{mark}/etc/d.conf saved as /etc/e.conf.rpmsave\n"
        "echo: /etc/f.conf saved as /etc/f.conf.rpmsave\n"
    )
    assert manager.kept_conffiles(text) == ("/etc/a b.conf",)
    assert manager.saved_conffiles(text) == ("/etc/c.conf.rpmorig",)
