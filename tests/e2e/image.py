"""Runs the instructions of a Containerfile in chroots over a Debian of the fleet, and then what the image runs.

    python -m tests.e2e.image CONTEXT BASE MIRROR

is meant for namespaces of its own (mounts and processes), which take everything with them. CONTEXT has the sources,
BASE the files of the Debian that the stages begin with, and MIRROR the apt sources that lead to packages. Prints what
it found, as JSON. An engine does more (layers, networks, capabilities of its own); this does what the instructions say.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.containerfile import Instruction, Stage, in_context, read_stages

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORK = Path("/tmp")
"""A file system of this run's own."""
LENT = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf")
"""Files that say how this machine reaches its package registries."""


def call(*command: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    how.setdefault("check", False)
    return subprocess.run([str(word) for word in command], text=True, **how)  # noqa: PLW1510


def lent_environment() -> dict[str, str]:
    """How this machine reaches package registries, as far as variables say it."""
    names = {name for name in os.environ if name.lower().endswith("_proxy")} | {"PIP_INDEX_URL"}
    found = {name: os.environ[name] for name in names if os.environ.get(name)}
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    return found | ({"PIP_CERT": "/etc/lent.crt"} if certificates else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The files of one stage."""

    path: Path

    @classmethod
    def over(cls, base: Path, name: str) -> "Root":
        """A stage that begins with the files of `base`."""
        folder = WORK / name
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        options = f"lowerdir={base},upperdir={folder}/upper,workdir={folder}/work"
        call("mount", "-t", "overlay", "overlay", "-o", options, folder / "root", check=True)
        root = folder / "root"
        call("mount", "-t", "proc", "proc", root / "proc", check=True)
        call("mount", "--rbind", "/dev", root / "dev", check=True)
        return cls(path=root)

    def lend(self, mirror: Path) -> None:
        """Let apt and pip reach their registries; what is lent is no part of what an engine would make."""
        shutil.copytree(mirror, self.path / "etc/apt", dirs_exist_ok=True)
        for name in LENT:
            if Path(name).exists():
                shutil.copy(name, self.path / name[1:])
        certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
        if certificates:
            shutil.copy(certificates, self.path / "etc/lent.crt")

    def command(
        self, environment: Mapping[str, str], words: Sequence[str], *, user: str = ""
    ) -> list[str]:
        """The words that run a command in the root; as `user` (UID:GID), without any right and without a way to one."""
        uid, _, gid = user.partition(":")
        unprivileged = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        drop = ["setpriv", *unprivileged, "--bounding-set=-all", "--"] if user else []
        pairs = [f"{name}={value}" for name, value in environment.items()]
        return ["chroot", str(self.path), *drop, "env", "-i", *pairs, *words]


def build(stage: Stage, root: Root, context: Path, earlier: Mapping[str, Root]) -> None:
    """Carry out the instructions of a stage that make files."""
    environment = {"PATH": PATH, "HOME": "/root", **lent_environment()}
    folder = "/"
    for each in stage.instructions:
        if each.keyword == "ENV":
            environment |= stage.environment()
        elif each.keyword == "WORKDIR":
            folder = each.text
            (root.path / folder[1:]).mkdir(parents=True, exist_ok=True)
        elif each.keyword == "COPY":
            source = earlier[each.flags["from"]].path if "from" in each.flags else context
            _copy(each, source, root.path / folder[1:], root)
        elif each.keyword == "RUN":
            print(f"RUN {each.text}", file=sys.stderr, flush=True)
            words = ["/bin/sh", "-c", f"cd {folder} && {each.text}"]
            call(*root.command(environment, words), stdout=sys.stderr, check=True)


def _copy(instruction: Instruction, source: Path, folder: Path, root: Root) -> None:
    *names, into = instruction.words
    target = root.path / into[1:] if into.startswith("/") else folder / into
    for name in names:
        found = source / name.lstrip("/")
        if found.is_dir():
            shutil.copytree(found, target, symlinks=True, dirs_exist_ok=True)
        else:
            inside = into.endswith("/") or len(names) > 1
            (target if inside else target.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(found, target / found.name if inside else target)


def send_context(context: Path) -> Path:
    """A copy of what an engine would get of the folder."""
    sent = WORK / "context"
    every = [str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()]
    for name in in_context((context / ".dockerignore").read_text(encoding="utf-8"), every):
        (sent / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(context / name, sent / name)
    return sent


def run(stage: Stage, root: Root) -> dict[str, Any]:
    """Run the image on a read-only root, with its volumes and a /tmp, and look at it as its user."""
    (user,) = (each.text for each in stage.all_of("USER"))
    volumes = [word for each in stage.all_of("VOLUME") for word in each.words]
    owners = {path: (root.path / path[1:]).stat() for path in volumes}
    call("mount", "-o", "remount,ro", root.path, check=True)
    for path, was in owners.items():
        options = f"uid={was.st_uid},gid={was.st_gid},mode={was.st_mode & 0o777:o}"
        call("mount", "-t", "tmpfs", "-o", options, "volume", root.path / path[1:], check=True)
    call("mount", "-t", "tmpfs", "-o", "mode=1777", "tmp", root.path / "tmp", check=True)
    environment = stage.environment()

    def said(*words: str) -> list[Any]:
        command = root.command(environment, words, user=user)
        done = call(*command, capture_output=True, timeout=60)
        return [done.returncode, done.stdout + done.stderr]

    (entrypoint,) = stage.all_of("ENTRYPOINT")
    command = root.command(environment, entrypoint.words, user=user)
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    found = {
        "ready": server.stdout.readline(),
        "info": said("tendhost", "info"),
        "identity": said("id", "-u")[1].strip() + ":" + said("id", "-g")[1].strip(),
        "rights": said("grep", "-E", "^(CapEff|CapBnd|NoNewPrivs)", "/proc/self/status")[1],
        "written": [
            path
            for path in ("/", "/etc", "/opt/tendhost", "/usr/bin", "/var/lib", "/tmp", *volumes)
            if said("mktemp", f"{path}/probe.XXXX")[0] == 0
        ],
        "tools": [
            name
            for name in ("pip", "gcc", "git", "curl")
            if said("sh", "-c", f"command -v {name}")[0] == 0
        ],
        "pip": said("/opt/tendhost/bin/python", "-m", "pip")[0],
        "python": said("/opt/tendhost/bin/python", "--version")[1].strip(),
        "database": said("ls", environment["TENDHOST_STATE_DIR"])[1].split(),
    }
    server.terminate()
    return found | {"end": server.wait(timeout=30)}


def main() -> None:
    context, base, mirror = map(Path, sys.argv[1:])
    call("mount", "-t", "tmpfs", "-o", "size=3g", "image", WORK, check=True)
    stages = read_stages((context / "deploy" / "Containerfile").read_text(encoding="utf-8"))
    sent = send_context(context)
    roots: dict[str, Root] = {}
    for stage in stages:
        name = stage.name or "image"
        roots[name] = Root.over(base, name)
        roots[name].lend(mirror)
        build(stage, roots[name], sent, roots)
    print(json.dumps(run(stages[-1], roots["image"])))


if __name__ == "__main__":
    main()
