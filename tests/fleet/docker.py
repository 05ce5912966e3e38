"""Docker on hosts of the fleet: its settings, a registry in the lab, and compose projects."""

import gzip
import hashlib
import http.client
import io
import json
import socket
import subprocess
import sys
import tarfile
import time
from abc import abstractmethod
from shlex import quote
from typing import Any

from tests.fleet.errors import FleetError
from tests.fleet.families import Compose
from tests.fleet.lab import Lab
from tests.fleet.processes import kill_tree

REGISTRY_PORT = 5000
START_SECONDS = 10.0
POLL_SECONDS = 0.02


def daemon_settings(gateway: str) -> str:
    """What makes a host's docker take images from the lab's registry, which has no TLS."""
    return json.dumps({"insecure-registries": [f"{gateway}:{REGISTRY_PORT}"]}) + "\n"


class ComposeProjects:
    """What a host does with compose projects, by way of its namespaces."""

    compose: Compose | None
    """The version of its docker compose; None: it has no docker."""

    @abstractmethod
    def run(
        self, command: str, *, input: str | None = None, timeout: float = 60, check: bool = False
    ) -> subprocess.CompletedProcess[str]: ...

    def write_stack(self, path: str, text: str) -> None:
        """Write the compose file of the project in the folder ``path``."""
        self.run(
            f"mkdir -p {quote(path)} && cat >{quote(path)}/docker-compose.yml",
            input=text,
            check=True,
        )

    def compose_run(
        self, path: str, arguments: str, *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run ``docker compose ARGUMENTS``, or ``docker-compose``, in the folder ``path``."""
        command = {"v1": "docker-compose", "v2": "docker compose", None: "false"}[self.compose]
        return self.run(f"cd {quote(path)} && {command} {arguments}", check=check)

    def compose_up(self, path: str) -> None:
        """Bring the project in the folder ``path`` up, pulling what is not there."""
        self.compose_run(path, "up -d")


_REFUSING = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ping = self.path.rstrip("/") == "/v2"
        body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate limit"}]})
        self.send_response(200 if ping else int(sys.argv[3]))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(0 if ping else len(body)))
        self.end_headers()
        if not ping and self.command == "GET":
            self.wfile.write(body.encode())

    do_HEAD = do_GET

http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


class Registry:
    """The registry of a lab, as ``docker pull ADDRESS/NAME:TAG`` on its hosts knows it."""

    def __init__(self, lab: Lab) -> None:
        self.address = f"{lab.claim.gateway}:{REGISTRY_PORT}"
        self._host = lab.claim.gateway
        self._lab = lab
        self._layer = lab.base.registry()
        self._folder = lab.claim.state / "registry"
        self._process: subprocess.Popen[bytes] | None = None
        self._refuses = False

    def start(self) -> None:
        """Return when it answers; it has what it had before it was stopped."""
        if self._process is not None and not self._refuses:
            return
        self.stop()
        settings = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self._folder)}},
            "http": {"addr": self.address},
        }
        self._folder.mkdir(exist_ok=True)
        configuration = self._folder / "config.json"  # JSON is YAML
        configuration.write_text(json.dumps(settings), encoding="ascii")
        program = str(self._layer / "usr/bin/docker-registry")
        with (self._lab.logs / "registry.log").open("ab") as log:
            self._process = self._lab.spawn(program, "serve", str(configuration), log=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise FleetError("the registry did not start")
            time.sleep(POLL_SECONDS)

    def answer(self, status: int) -> None:
        """From now on each request for an image is answered with this status, until `start` or `stop`."""
        self.stop()
        self._refuses = True
        with (self._lab.logs / "registry.log").open("ab") as log:
            self._process = self._lab.spawn(
                sys.executable,
                "-c",
                _REFUSING,
                self._host,
                str(REGISTRY_PORT),
                str(status),
                log=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise FleetError("the refusing registry did not start")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """From now on connections are refused."""
        if self._process is not None:
            kill_tree(self._process.pid)
            self._process.wait()
            self._process = None
        self._refuses = False

    def push(
        self,
        name: str,
        *,
        tag: str = "1",
        text: str = "hello",
        healthy: bool | None = True,
        command: tuple[str, ...] = ("httpd", "-f", "-p", "80", "-h", "/www"),
    ) -> str:
        """Make an image that serves ``text`` over HTTP on port 80, and move ``tag`` to it.

        ``healthy`` is what its health check will find, None gives it none; ``command`` is one of
        busybox's. Returns the digest, by which the image stays available when the tag moves on.
        """
        layers = [
            _layer({"bin/busybox": ((self._layer / "usr/bin/busybox").read_bytes(), 0o755)}),
            _layer({"www/index.html": (text.encode() + b"\n", 0o644)}),
        ]
        config = _config(layers, command, healthy)
        manifest = _manifest(config, layers)
        for blob in (config, *map(gzipped, layers)):
            self._upload(name, blob)
        kind = {"Content-Type": "application/vnd.docker.distribution.manifest.v2+json"}
        self._request("PUT", f"/v2/{name}/manifests/{tag}", manifest, kind, expected=201)
        return sha256(manifest)

    def _upload(self, name: str, blob: bytes) -> None:
        if self._request("HEAD", f"/v2/{name}/blobs/{sha256(blob)}", expected=None).status == 200:
            return
        begun = self._request("POST", f"/v2/{name}/blobs/uploads/", expected=202)
        place = begun.headers["Location"].partition(self.address)[2]
        kind = {"Content-Type": "application/octet-stream"}
        where = f"{place}{'&' if '?' in place else '?'}digest={sha256(blob)}"
        self._request("PUT", where, blob, kind, expected=201)

    def _request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        expected: int | None,
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._host, REGISTRY_PORT, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
        if expected is not None and response.status != expected:
            raise FleetError(f"the registry says {response.status} to {method} {path}: {said!r}")
        return response

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self._host, REGISTRY_PORT), timeout=0.2):
                return True
        except OSError:
            return False


def sha256(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def gzipped(blob: bytes) -> bytes:
    return gzip.compress(blob, mtime=0)  # the same image has the same digest


def _layer(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _config(layers: list[bytes], command: tuple[str, ...], healthy: bool | None) -> bytes:
    """The image's own settings, as the "Docker Image Specification v1.2" has them."""
    settings: dict[str, Any] = {"Cmd": ["/bin/busybox", *command]}
    if healthy is not None:
        settings["Healthcheck"] = {
            "Test": ["CMD", "/bin/busybox", "true" if healthy else "false"],
            "Interval": 300_000_000,  # nanoseconds
            "Timeout": 5_000_000_000,
            "Retries": 2,
        }
    image = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
    }
    return json.dumps(image).encode()


def _manifest(config: bytes, layers: list[bytes]) -> bytes:
    """Which blobs the image consists of ("Image Manifest Version 2, Schema 2")."""

    def described(kind: str, blob: bytes) -> dict[str, object]:
        return {"mediaType": kind, "size": len(blob), "digest": sha256(blob)}

    kind = "application/vnd.docker"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.distribution.manifest.v2+json",
        "config": described(f"{kind}.container.image.v1+json", config),
        "layers": [
            described(f"{kind}.image.rootfs.diff.tar.gzip", gzipped(layer)) for layer in layers
        ],
    }
    return json.dumps(manifest).encode()
