"""`tendhostd tls …`: certificates that are made, renewed and shown, and what is watched of them."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tendhost.server.certificates import (
    CA,
    CA_KEY,
    SERVER,
    SERVER_KEY,
    info_of,
    issue_server,
    make_authority,
    read_pair,
)
from tendhost.server.config import ClientCertificateSettings, Settings
from tendhost.server.domain.access.certificate_expiry import CertificateUse
from tendhost.server.domain.access.roles import Role
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.main import main
from tendhost.server.startup import certificate_roles, expiries_reader, listeners_of, tls_files

NOW = datetime.now(UTC)
"""The commands read the machine's clock."""


def tls(folder: Path, *words: str) -> int:
    return main(["--config", "/dev/null", "--state-dir", str(folder), "tls", *words])


def test_init__without_names_renews_the_certificate_and_keeps_the_ca(tmp_path: Path, capsys):
    folder = tmp_path / "tls"
    assert tls(tmp_path, "init", "updates.example.org", "192.0.2.7") == 0
    former = {name: (folder / name).read_bytes() for name in (CA, CA_KEY, SERVER, SERVER_KEY)}
    assert tls(tmp_path, "init") == 0
    assert "for updates.example.org, 192.0.2.7, which expires" in capsys.readouterr().out
    changed = {name for name, raw in former.items() if (folder / name).read_bytes() != raw}
    assert changed == {SERVER, SERVER_KEY}
    assert read_pair(folder / SERVER, folder / SERVER_KEY).info.names == (
        "updates.example.org",
        "192.0.2.7",
    )


def test_init__with_names_renews_the_certificate_for_them(tmp_path: Path):
    assert tls(tmp_path, "init", "a.example.org") == 0
    assert tls(tmp_path, "init", "b.example.org") == 0
    assert info_of(tmp_path / "tls" / SERVER).names == ("b.example.org",)


def test_init__without_names_and_without_a_certificate_says_what_to_type(tmp_path: Path, capsys):
    assert tls(tmp_path, "init") == 1
    assert "there is none to renew; name the server: tendhostd tls init NAME" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "tls" / CA).exists()


def test_init__without_names_of_a_certificate_without_names_says_what_to_type(
    tmp_path: Path, capsys
):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW)
    (folder / SERVER).write_bytes((folder / CA).read_bytes())
    assert tls(tmp_path, "init") == 1
    assert "it has no names; name the server: tendhostd tls init NAME" in capsys.readouterr().err


def test_init__goes_on_with_a_ca_that_was_interrupted(tmp_path: Path):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW)
    key = (folder / CA_KEY).read_bytes()
    (folder / CA).unlink()  # the certificate is written after the key
    assert tls(tmp_path, "init", "a.example.org") == 0
    assert (folder / CA_KEY).read_bytes() == key
    assert info_of(folder / CA).authority
    issued, ca = (
        x509.load_pem_x509_certificate((folder / name).read_bytes()) for name in (SERVER, CA)
    )
    issued.verify_directly_issued_by(ca)
    assert read_pair(folder / SERVER, folder / SERVER_KEY).info.names == ("a.example.org",)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"", 0o600, "ca.key: it holds no private key in PEM form"),
        (b"-----BEGIN PRIVATE KEY-----\n", 0o600, "ca.key: it holds no private key in PEM form"),
        (None, 0o644, "ca.key: others may read it (mode 0644); run: chmod 600"),
    ],
)
def test_init__of_a_ca_whose_key_cannot_be_used_says_what_to_do(
    tmp_path: Path, capsys, content: bytes | None, mode: int, words: str
):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW)
    (folder / CA).unlink()
    if content is not None:
        (folder / CA_KEY).write_bytes(content)
    (folder / CA_KEY).chmod(mode)
    assert tls(tmp_path, "init", "a.example.org") == 1
    said = capsys.readouterr().err
    assert words in said
    assert "chmod" in said or "move it away, and run the command again" in said
    assert {file.name for file in folder.iterdir()} == {CA_KEY}


def test_init__of_an_expired_ca_changes_nothing(tmp_path: Path, capsys):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW - timedelta(days=3651))
    issue_server(folder, ["a.example.org"], now=NOW - timedelta(days=400))
    former = (folder / SERVER).read_bytes()
    assert tls(tmp_path, "init") == 1
    assert "ca.pem: it expired at" in capsys.readouterr().err
    assert (folder / SERVER).read_bytes() == former


def test_certificate__does_not_outlive_its_ca(tmp_path: Path):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW - timedelta(days=3600))
    assert tls(tmp_path, "init", "a.example.org") == 0
    assert info_of(folder / SERVER).not_after == info_of(folder / CA).not_after


@pytest.mark.parametrize(
    ("age", "status", "words"),
    [(0, 0, "expires in 39"), (396, 0, "expires in 1 days"), (398, 1, "HAS EXPIRED")],
)
def test_show__has_an_exit_status(tmp_path: Path, capsys, age: int, status: int, words: str):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW - timedelta(days=age))
    # Hours, for the clock goes on while other tests run.
    issue_server(folder, ["a.example.org"], now=NOW - timedelta(hours=max(0, 24 * age - 6)))
    assert tls(tmp_path, "show") == status
    shown = capsys.readouterr().out
    assert words in shown.splitlines()[0]
    assert "ca.pem" in shown


def test_show__of_nothing_fails(tmp_path: Path, capsys):
    assert tls(tmp_path, "show") == 1
    assert "no certificate; make one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("listen", "uses"),
    [
        ((), []),
        (("tls://127.0.0.1:0",), [CertificateUse.SERVER]),
        (("mtls://127.0.0.1:0",), [CertificateUse.SERVER, CertificateUse.CLIENT_CA]),
    ],
)
def test_watch__is_over_the_certificates_in_use(
    tmp_path: Path, listen: tuple[str, ...], uses: list[CertificateUse]
):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW)
    issue_server(folder, ["localhost"], now=NOW)
    settings = Settings(state_dir=tmp_path, listen=("127.0.0.1:0", *listen))
    files = tls_files(settings)
    read = expiries_reader(files, listeners_of(settings, files))
    if not uses:
        assert read is None
        return
    assert read is not None
    assert [(found.use, found.expires_at) for found in read()] == [
        (use, info_of(folder / {CertificateUse.SERVER: SERVER}.get(use, CA)).not_after)
        for use in uses
    ]
    (folder / SERVER).write_text("x")
    assert "holds no certificate" in read()[0].problem


def test_chain__expires_with_the_first_of_its_certificates(tmp_path: Path):
    make_authority(tmp_path, now=NOW - timedelta(days=3600))
    issue_server(tmp_path, ["localhost"], now=NOW - timedelta(days=1000))
    chain = tmp_path / "chain.pem"
    chain.write_bytes((tmp_path / CA).read_bytes() + (tmp_path / SERVER).read_bytes())
    assert info_of(chain).not_after == info_of(tmp_path / SERVER).not_after


PLAIN_CLIENT = """
import asyncio, sys
from pathlib import Path
from tendhost.server.clock import SystemClock
from tendhost.server.rpc.tls import TlsFiles
import grpc

async def main(folder):
    server = grpc.aio.server()
    files = TlsFiles(certificate=folder / "server.pem", key=folder / "server.key")
    port = server.add_secure_port("127.0.0.1:0", files.credentials(clients=False, clock=SystemClock()))
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
    print(await reader.read())
    writer.close()
    await server.stop(0)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_client_in_plain_text__leaves_no_raw_lines_in_the_log(tmp_path: Path):
    make_authority(tmp_path, now=NOW)
    issue_server(tmp_path, ["localhost"], now=NOW)
    environment = {k: v for k, v in os.environ.items() if k != "GRPC_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_CLIENT, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("b''\n", "")


@pytest.mark.parametrize(
    "name", ["", "192.0.2.7", "2001:db8::1", "*.example.org", "kim@example.org", "spiffe://a/b"]
)
def test_client__that_no_certificate_can_name_is_refused(tmp_path: Path, name: str):
    table = ClientCertificateSettings(name=name, roles=("viewer",))
    with pytest.raises(ConfigurationError, match="expected a DNS name"):
        certificate_roles(Settings(state_dir=tmp_path, client_certificate=(table,)))


def test_client_certificate__of_two_tables_is_refused(tmp_path: Path):
    tables = tuple(
        ClientCertificateSettings(name="ci.example.org", roles=(role,))
        for role in ("viewer", "admin")
    )
    with pytest.raises(ConfigurationError, match=r"'ci.example.org'.*no other of these tables"):
        certificate_roles(Settings(state_dir=tmp_path, client_certificate=tables))


def test_client__has_the_roles_of_its_table(tmp_path: Path):
    table = ClientCertificateSettings(name="laptop_kim", roles=("viewer", "operator"))
    found = certificate_roles(Settings(state_dir=tmp_path, client_certificate=(table,)))
    assert found == {"laptop_kim": {Role.VIEWER, Role.OPERATOR}}


def test_show__says_which_files_cannot_be_used(tmp_path: Path, capsys):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW)
    issue_server(folder, ["a.example.org"], now=NOW + timedelta(days=3))
    assert tls(tmp_path, "show") == 1
    assert "server.pem: a.example.org, from CN=tendhost private CA, IS NOT VALID BEFORE 2" in (
        capsys.readouterr().out
    )
    issue_server(folder, ["a.example.org"], now=NOW)
    assert tls(tmp_path, "show") == 0
    (folder / SERVER_KEY).write_bytes((folder / CA_KEY).read_bytes())
    (folder / CA).write_bytes((folder / SERVER).read_bytes())
    capsys.readouterr()
    assert tls(tmp_path, "show") == 1
    shown = capsys.readouterr().out
    assert f"{folder / SERVER_KEY} CANNOT BE USED: it is not the key of" in shown
    assert (
        f"{folder / CA} CANNOT BE USED: the certificate of CN=a.example.org in it is no CA's"
        in (shown)
    )


def test_start__with_a_leaf_as_the_ca_of_clients_is_refused(tmp_path: Path, capsys, monkeypatch):
    folder = tmp_path / "tls"
    make_authority(folder, now=NOW)
    issue_server(folder, ["a.example.org"], now=NOW)
    monkeypatch.setenv("TENDHOST_TLS_CLIENT_CA", str(folder / SERVER))
    options = ["--config", "/dev/null", "--state-dir", str(tmp_path)]
    assert main([*options, "--listen", "mtls://127.0.0.1:0", "check-config"]) == 2
    assert "tls_client_ca: invalid value" in (said := capsys.readouterr().err)
    assert "is no CA's; expected the CA that issues the certificates of clients" in said
