"""`tendhostd check-config` and `tls`: addresses that need a certificate, and certificates that cannot be used."""

from pathlib import Path

import pytest

from tendhost.server.certificates import CA, SERVER, SERVER_KEY
from tendhost.server.main import main


def run(folder: Path, *words: str) -> int:
    return main(["--state-dir", str(folder), *words])


def test_address__that_other_machines_can_reach_needs_a_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(tmp_path, "--listen", "0.0.0.0:0", "check-config") == 2
    error = capsys.readouterr().err
    assert error.startswith("tendhostd: listen: invalid value '0.0.0.0:0'")
    assert error.endswith("make a certificate: tendhostd tls init NAME\n")
    assert run(tmp_path, "tls", "init", "localhost", "192.0.2.7") == 0
    assert run(tmp_path, "--listen", "0.0.0.0:0", "check-config") == 0
    assert run(tmp_path, "tls", "show") == 0
    assert "localhost, 192.0.2.7" in capsys.readouterr().out


def test_address__without_credentials_is_of_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(tmp_path, "tls", "init", "localhost") == 0
    assert run(tmp_path, "--auth", "none", "--listen", "127.0.0.1:0", "check-config") == 0
    assert run(tmp_path, "--auth", "none", "--listen", "[::]:0", "check-config") == 2
    assert "auth: invalid value 'none', expected required" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "spoilt", "content", "words"),
    [
        ("tls://127.0.0.1:0", SERVER, b"x", "holds no certificate in PEM form"),
        ("tls://127.0.0.1:0", SERVER_KEY, None, "No such file"),
        ("tls://127.0.0.1:0", SERVER, None, "expected a certificate for TLS; make a certificate"),
        ("mtls://127.0.0.1:0", CA, b"x", "holds no certificate in PEM form"),
        ("mtls://127.0.0.1:0", CA, None, "tls_client_ca: invalid value"),
    ],
)
def test_certificate__that_cannot_be_used_is_found_before_anything_is_served(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    address: str,
    spoilt: str,
    content: bytes | None,
    words: str,
):
    assert run(tmp_path, "tls", "init", "localhost") == 0
    file = tmp_path / "tls" / spoilt
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert run(tmp_path, "--listen", address, "check-config") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_address__is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(tmp_path, "--listen", "127.0.0.1:5,127.0.0.1:5", "check-config") == 2
    assert (
        "listen: invalid value '127.0.0.1:5', expected each address once" in capsys.readouterr().err
    )
    assert run(tmp_path, "--listen", "unix:/run/x,unix:///run/x", "check-config") == 2
    assert run(tmp_path, "--listen", "127.0.0.1:0,127.0.0.1:0", "check-config") == 0


def test_init__of_a_name_that_cannot_be_used_makes_no_ca(tmp_path: Path):
    assert run(tmp_path, "tls", "init", "localhost", "bad name") == 1
    assert not list(tmp_path.iterdir())
