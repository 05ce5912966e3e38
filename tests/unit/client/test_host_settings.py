"""The settings of a host: declared once, for every field of the contract, with names of their own."""

from datetime import timedelta

import pytest
from google.protobuf.message import Message

from tendhost import client
from tendhost.client.convert.host_settings import config_message
from tendhost.v1 import host_pb2

CONFIG = set(host_pb2.HostConfig.DESCRIPTOR.fields_by_name) - {"name", "address", "policy"}
POLICY = set(host_pb2.Policy.DESCRIPTOR.fields_by_name)
PARTS = {"pre_hook", "post_hook", "settle"}
VALUES: dict[str, object] = {
    "port": 2222,
    "user": "admin",
    "ssh_key": "/etc/key",
    "jump": "bastion",
    "jump_only": True,
    "compose_paths": ["/srv/app"],
    "compose_version": client.ComposeVersion.V2,
    "pull_before_update": False,
    "compose_health_timeout": timedelta(minutes=2),
    "compose_prune": False,
    "tags": ["web"],
    "groups": ["production"],
    "auto_reboot": False,
    "windows": [client.MaintenanceWindow(start="22:00", end="04:00")],
    "after_interruption": client.AfterInterruption.REPAIR,
    "scope": client.UpdateScope(security_only=True),
    "restart_services": client.RestartServices.REBOOT,
    "snapshots": client.Snapshots.REQUIRED,
    "rollback": client.Rollback.UNHEALTHY,
    "hooks": client.Hooks(pre=client.Hook(script="drain\n")),
    "pre_hook": client.Hook(script="drain\n"),
    "post_hook": client.Hook(script="restore\n"),
    "health_checks": client.HealthChecks(checks=(client.HealthCheck(units=("nginx.service",)),)),
    "settle": timedelta(seconds=30),
}


def test_settings__are_the_fields_of_the_contract_and_parts_of_them():
    assert set(client.HostSettings.__annotations__) == CONFIG | POLICY | PARTS


@pytest.mark.parametrize("name", client.HostSettings.__annotations__)
def test_setting__has_its_place_and_the_mask_that_names_it(name: str):
    config, mask = config_message("web1", {name: VALUES[name]})
    assert mask
    for path in mask:
        *parents, field = path.split(".")
        message: Message = config
        for parent in parents:
            assert message.HasField(parent), path
            message = getattr(message, parent)
        assert field in {descriptor.name for descriptor, _ in message.ListFields()} or (
            message.DESCRIPTOR.fields_by_name[field].has_presence is False
        )


def test_setting__that_is_none_is_not_given():
    config, mask = config_message("web1", dict.fromkeys(client.HostSettings.__annotations__))
    assert config == host_pb2.HostConfig(name="web1")
    assert mask == []


def test_setting__that_does_not_exist_is_refused_as_an_unknown_keyword_is():
    with pytest.raises(TypeError, match="'prot' is not a setting of a host"):
        config_message("web1", {"prot": 22})
