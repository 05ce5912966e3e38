"""RPM packages and repositories that a test builds on its own host, for what the lab's repositories do not have."""

from dataclasses import dataclass

from tests.fleet import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpm:
    """A package without contents, but for `files` of which the text is the package's version."""

    name: str
    version: str
    """With its release: "1.0-1"."""
    tags: str = ""
    """Lines of the preamble."""
    files: tuple[str, ...] = ()
    """Lines of %files, such as "%config /etc/app.conf"."""

    @property
    def spec(self) -> str:
        """The spec file."""
        version, _, release = self.version.partition("-")
        paths = [line.split(" ")[-1] for line in self.files]
        install = [
            f"mkdir -p $(dirname %{{buildroot}}{path}); echo {self.version} >%{{buildroot}}{path}"
            for path in paths
        ]
        lines = (
            f"Name: {self.name}\nVersion: {version}\nRelease: {release}\nSummary: A package of a test",
            "License: MIT\nBuildArch: noarch",
            self.tags,
            "%description\nA package of a test.\n%install",
            *install,
            "%files",
            *self.files,
        )
        return "\n".join(lines) + "\n"


_BUILD = """
set -eu
work=$(mktemp -d); cat >"$work/package.spec"; mkdir -p {folder}
rpmbuild -bb --quiet --define "_topdir $work" --define '_rpmdir {folder}' --define '__os_install_post %{{nil}}' \
  --define '_rpmfilename %%{{NAME}}-%%{{VERSION}}-%%{{RELEASE}}.noarch.rpm' "$work/package.spec" 2>&1
rm -rf "$work"
"""


def build(host: Host, folder: str, *packages: Rpm) -> None:
    """Build the packages into a folder of the host, and make it a repository."""
    for package in packages:
        host.run(_BUILD.format(folder=folder), input=package.spec, check=True)
    host.run(f"createrepo_c --quiet --no-database {folder}", check=True)


def add_repository(host: Host, name: str, address: str, *options: str) -> None:
    """Have dnf use a repository at this address, whose packages are not checked unless `options` say so."""
    lines = (f"[{name}]", f"name={name}", f"baseurl={address}", "gpgcheck=0", *options)
    host.run(f"cat >/etc/yum.repos.d/{name}.repo", input="\n".join(lines) + "\n", check=True)
