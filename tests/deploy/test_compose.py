"""deploy/compose: whether its parts fit each other, the image and HAProxy's recipe."""

import re
from dataclasses import fields
from typing import Any

import yaml

from tendhost.server.config import Settings
from tests.containerfile import read_stages
from tests.deploy.recipes import DEPLOY, recipe

COMPOSE: dict[str, Any] = yaml.safe_load(recipe("compose/compose.yaml"))
SERVICES = COMPOSE["services"]
REPLICAS = [each for each in SERVICES.values() if each["image"] == "tendhost"]
FINAL = read_stages((DEPLOY / "Containerfile").read_text(encoding="utf-8"))[-1]


def test_services__use_secrets_and_volumes_that_are_there() -> None:
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source.startswith(("./", "../")) or source in COMPOSE["volumes"]


def test_replicas__have_the_same_settings_and_nothing_of_their_own() -> None:
    assert len(REPLICAS) == 2
    first, second = REPLICAS
    assert first == second
    (volume,) = FINAL.all_of("VOLUME")
    assert {mount.partition(":")[0] for mount in first["tmpfs"]} == {"/tmp", *volume.words}
    names = {name.removeprefix("TENDHOST_").lower() for name in first["environment"]}
    assert names <= {field.name for field in fields(Settings)}
    for path in re.findall(r"/run/secrets/(\w+)", " ".join(first["environment"].values())):
        assert path in first["secrets"]


def test_proxy__knows_the_replicas_by_their_names() -> None:
    servers = re.findall(
        r"^    server \w ([\w.]+):50051", recipe("haproxy/haproxy.cfg"), re.MULTILINE
    )
    names = [name for name, each in SERVICES.items() if each["image"] == "tendhost"]
    assert servers[: len(names)] == names
    assert (
        SERVICES["database"]["environment"]["POSTGRES_PASSWORD_FILE"]
        == "/run/secrets/store_password"
    )
