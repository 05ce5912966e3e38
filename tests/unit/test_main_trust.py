"""`tendhostd check-config`: what is said of the authorities of hosts before anything is served."""

from pathlib import Path

import pytest

from tendhost.server.config import load_settings
from tendhost.server.main import main
from tendhost.server.startup import host_authorities
from tests.unit.domain.hosts.test_host_keys import made_up

CA = made_up("ssh-ed25519", b"ca")


def configured(folder: Path, table: str) -> list[str]:
    file = folder / "tendhostd.toml"
    file.write_text(f"[[host_ca]]\nname = 'production'\n{table}")
    return ["--config", str(file), "--state-dir", str(folder / "state")]


def test_authorities__are_read_from_their_files(tmp_path: Path):
    (tmp_path / "ca.pub").write_text(f"{CA} ca@example.org\n")
    table = f"file = '{tmp_path}/ca.pub'\ngroups = ['web']"
    assert main([*configured(tmp_path, table), "check-config"]) == 0
    settings = load_settings(file=tmp_path / "tendhostd.toml", environment={}, options={})
    (authority,) = host_authorities(settings)
    assert (authority.name, authority.groups) == ("production", ("web",))
    assert [key.key for key in authority.keys] == [CA]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"", "it has no key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\n", "it has a private key"),
        (b"-----BEGIN PRIVATE KEY-----\ns3cret\n", "it has a private key"),
        (b"\xff\xfes3cret", "it is not text"),
        (b"web1 s3cret", "line 1: "),
    ],
)
def test_file__that_has_no_keys_of_authorities_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, why: str
):
    file = tmp_path / "ca.pub"
    if content is not None:
        file.write_bytes(content)
    assert main([*configured(tmp_path, f"file = '{file}'"), "check-config"]) == 2
    told = capsys.readouterr().err
    assert f"host_ca 'production': file: invalid value '{file}', expected public keys" in told
    assert why in told


def test_table_without_a_file__is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*configured(tmp_path, "groups = ['web']"), "check-config"]) == 2
    assert "expected a 'file'" in capsys.readouterr().err
