"""deploy/kubernetes: what the API of Kubernetes says of it, whether its parts fit each other, and its probes."""

import asyncio
import copy
import os
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tendhost.server.config import Settings
from tendhost.server.remote.private_keys import CREDENTIAL
from tests.containerfile import read_stages
from tests.deploy.recipes import DEPLOY, fitted, manifests, problems, recipe
from tests.rpc.process import serving_process

OBJECTS = manifests(recipe("kubernetes/tendhost.yaml"))
BY_KIND = {each["kind"]: each for each in OBJECTS}
POD = BY_KIND["Deployment"]["spec"]["template"]
(SERVER,) = POD["spec"]["containers"]
FINAL = read_stages((DEPLOY / "Containerfile").read_text(encoding="utf-8"))[-1]
SOCKET = "/run/tendhost/tendhostd.sock"


@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda each: str(each["kind"]))
def test_manifest__is_one_that_kubernetes_takes(manifest: dict[str, Any]) -> None:
    assert problems(manifest) == []
    assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "tendhost"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("spec", "replica"), 3, "has no field replica"),
        (("spec", "replicas"), "3", "Expected `int"),
        (("spec", "template", "spec", "containers"), None, "Expected `array`"),
        (("spec", "selector", "matchLabel"), {}, "selector has no field matchLabel"),
        (
            ("spec", "template", "spec", "containers", 0),
            {"image": "a"},
            "missing required field `name`",
        ),
        (("spec", "template", "spec", "volumes", 0, "configmap"), {}, "has no field configmap"),
    ],
)
def test_schema__finds_what_is_wrong(path: tuple[Any, ...], value: Any, words: str) -> None:
    manifest = copy.deepcopy(BY_KIND["Deployment"])
    place = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(words in problem for problem in problems(manifest))


def test_labels__lead_to_the_pods() -> None:
    labels = POD["metadata"]["labels"]
    assert BY_KIND["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert BY_KIND["Service"]["spec"]["selector"] == labels
    assert BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    (port,) = BY_KIND["Service"]["spec"]["ports"]
    assert port["targetPort"] in {each["name"] for each in SERVER["ports"]}


def test_pod__has_the_user_and_the_folders_of_the_image() -> None:
    (user,) = FINAL.all_of("USER")
    context = POD["spec"]["securityContext"]
    assert user.text == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert context["fsGroup"] == context["runAsGroup"]
    assert SERVER["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {mount["mountPath"]: mount for mount in SERVER["volumeMounts"]}
    (volume,) = FINAL.all_of("VOLUME")
    assert {*volume.words, "/tmp", FINAL.environment()["CREDENTIALS_DIRECTORY"]} <= set(mounts)
    volumes = {each["name"]: each for each in POD["spec"]["volumes"]}
    assert set(volumes) == {mount["name"] for mount in mounts.values()}
    for path in (*volume.words, "/tmp"):
        assert "emptyDir" in volumes[mounts[path]["name"]]  # replicas share the database alone


def test_settings__are_those_of_the_server() -> None:
    text = BY_KIND["ConfigMap"]["data"]["tendhostd.toml"]
    settings = tomllib.loads(text)
    assert set(settings) <= {field.name for field in fields(Settings)}
    mounts = [mount["mountPath"] for mount in SERVER["volumeMounts"]]
    for name in ("tls_certificate", "tls_key"):
        assert str(Path(settings[name]).parent) in mounts
    assert f"unix:{SOCKET}" in settings["listen"]
    assert "password_file=/run/secrets/store_password" in settings["store"]
    assert f"`{CREDENTIAL}` and `store_password`" in recipe("kubernetes/tendhost.yaml")


async def probed(name: str, socket: Path) -> int:
    """The exit status of a probe's command, with the socket of a test."""
    program, *rest = SERVER[name]["exec"]["command"]
    assert program == f"{FINAL.environment()['PATH'].partition(':')[0]}/python"
    command = [sys.executable, *(fitted(each, {SOCKET: str(socket)}) for each in rest[-1:])]
    process = await asyncio.create_subprocess_exec(
        *(command[0], "-c", command[1]),
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"]},
    )
    return await process.wait()


async def test_probes__say_whether_the_server_serves(tmp_path: Path) -> None:
    names = ("startupProbe", "readinessProbe", "livenessProbe")
    socket = tmp_path / "s.sock"
    assert [await probed(name, socket) for name in names] == [1, 1, 1]
    async with serving_process(tmp_path, listen=f"unix:{socket}"):
        assert [await probed(name, socket) for name in names] == [0, 0, 0]
