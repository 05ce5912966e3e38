"""The settings of apt that change what apt prints or whether it acts: given on every command line.

A host's apt.conf(5) may set each of them. The command line is read last, so what is given there holds. Settings
that decide which packages and versions a host gets (pins, phasing, recommends, solver, automatic removal), where
apt finds its files, and how it downloads stay as the host has them: the plan and the upgrade read the same ones.
"""

from collections.abc import Mapping
from types import MappingProxyType

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        # What is printed. At level 2 the headings of what is left alone are missing.
        "quiet": "1",
        "quiet::NoStatistic": "0",
        "APT::Output-Version": "0",
        "APT::Color": "0",
        "APT::Get::Show-Versions": "0",
        "APT::Get::Show-Upgraded": "1",
        "APT::Get::Show-User-Simulation-Note": "0",
        "APT::Get::HideAutoRemove": "0",
        "APT::Status-Fd": "-1",
        "APT::Status-deb822-Fd": "-1",
        "DPkg::Progress": "0",
        "DPkg::Progress-Fancy": "0",
        "DPkgPM::Progress": "0",
        # dpkg on a terminal of its own counts the files that it reads, a line for each percent.
        "DPkg::Use-Pty": "0",
        # Whether anything is done, and what of it.
        "APT::Get::Simulate": "0",
        "APT::Get::Download-Only": "0",
        "APT::Get::Download": "1",
        "APT::Get::Print-URIs": "0",
        "APT::Get::Assume-No": "0",
        "APT::Get::Assume-Yes": "0",
        "APT::Get::Trivial-Only": "0",
        "APT::Get::Mark-Auto": "0",
        "APT::Get::ReInstall": "0",
        "APT::Get::Upgrade": "1",
        "APT::Get::Only-Upgrade": "0",
        "APT::Get::Upgrade-Allow-New": "0",
        "APT::Get::Upgrade-By-Source-Package": "0",
        "APT::Get::Remove": "1",
        "APT::Get::Fix-Broken": "0",
        "APT::Get::Fix-Missing": "0",
        "APT::Get::List-Cleanup": "1",
        "APT::Cache::AllVersions": "1",
        "DPkg::NoTriggers": "0",
        "DPkg::ConfigurePending": "1",
        # Debugging: pkgDPkgPM prints the commands of dpkg instead of running them, NoLocking takes no
        # lock, and the others print to where the answers are.
        "Debug::pkgDPkgPM": "0",
        "Debug::NoLocking": "0",
        "Debug::pkgPolicy": "0",
        "Debug::pkgAutoRemove": "0",
        "Debug::pkgDepCache::AutoInstall": "0",
        "Debug::pkgDepCache::Marker": "0",
        "Debug::pkgProblemResolver": "0",
        "Debug::pkgProblemResolver::ShowScores": "0",
        "Debug::pkgOrderList": "0",
        "Debug::pkgPackageManager": "0",
        "Debug::pkgInitialize": "0",
        "Debug::pkgAcquire": "0",
        "Debug::pkgAcquire::Worker": "0",
        "Debug::pkgAcquire::Auth": "0",
        "Debug::pkgDPkgProgressReporting": "0",
        "Debug::RunScripts": "0",
        "Debug::Phasing": "0",
    }
)
"""Names of apt.conf(5) and of apt's index of all settings (configure-index), as of apt 2.6 and 3.0. An apt that does
not know one of them ignores it. A later option of the same command line goes before these."""

DEFINE = "apt_settings='" + " ".join(f"-o {name}={value}" for name, value in SETTINGS.items()) + "'"
"""Defines the variable that follows `apt-get` and `apt-cache`, without quotes: no value holds a blank or a glob."""
APT_GET = "apt-get $apt_settings"
APT_CACHE = "apt-cache $apt_settings"
