"""Key files as ssh-keygen(1) makes them: every format, passphrases, certificates; and everything else people name."""

import asyncio
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest
from asyncssh.sk_eddsa import _SKEd25519Key

from tendhost.server.domain.host_errors import AuthenticationRefused, KeyUnusable
from tendhost.server.remote.private_keys import CREDENTIAL, KeyRing
from tendhost.server.remote.protocol import Target
from tendhost.server.remote.ssh import SshConnector
from tests.tools import needs
from tests.unit.remote.ssh.servers import QUICK, Connectors, listening, public

pytestmark = needs("ssh-keygen")

NOW = datetime(2026, 7, 1, tzinfo=UTC)
PASSPHRASE = "correct horse \N{LATIN SMALL LETTER U WITH DIAERESIS}"


def keygen(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["ssh-keygen", "-q", *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return done.stdout


def ring(folder: Path, default: bytes | None = None) -> KeyRing:
    """The keys of a server with these credentials, at NOW."""
    return KeyRing(default, timeout=timedelta(seconds=20), now=lambda: NOW, credentials=folder)


def target_with(path: Path | str) -> Target:
    return Target(
        host="web1", address="127.0.0.1", port=22, user="root", ssh_key=str(path), host_key=""
    )


async def offered(keys: KeyRing, target: Target) -> tuple[list[str], str]:
    """The algorithms of what a login offers, and the note."""
    async with keys.keys_for(target) as found:
        return [pair.algorithm.decode() for pair in found.pairs], found.note


def with_passphrase(folder: Path, key: Path, passphrase: str, end: str = "\n") -> None:
    file = folder / f"{key.name}.passphrase"
    file.touch(mode=0o600)
    file.write_bytes((passphrase + end).encode())


KINDS: Sequence[tuple[str, ...]] = (("ed25519",), ("ecdsa", "-b", "521"), ("rsa", "-b", "2048"))
FORMATS = ("OPENSSH", "PEM", "PKCS8")


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
async def test_key__of_every_kind_and_format_is_read_with_a_passphrase_and_without(
    tmp_path: Path, kind: tuple[str, ...], form: str, passphrase: str
) -> None:
    key, new = tmp_path / "id", ("-t", *kind, "-N", passphrase)
    keygen(*new, *(() if form == "OPENSSH" else ("-m", form)), "-f", key)
    if passphrase:
        assert "has a passphrase; expected the passphrase in the credential id.passphrase" in (
            await ring(tmp_path).problem(str(key))
        )
        for wrong in ("wrong", "", f"{passphrase} "):
            with_passphrase(tmp_path, key, wrong)
            problem = await ring(tmp_path).problem(str(key))
            assert "has another passphrase than the credential id.passphrase" in problem
            assert passphrase not in problem
        with_passphrase(tmp_path, key, passphrase, end="\r\n")
        assert await ring(tmp_path).problem(str(key)) == ""
        with_passphrase(tmp_path, key, passphrase)
    async with ring(tmp_path).keys_for(target_with(key)) as found:
        (pair,) = found.pairs
    own = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    assert public(asyncssh.import_public_key(own)) == own
    assert pair.public_data == asyncssh.import_public_key(own).public_data


async def test_key__that_was_given_its_passphrase_later_is_read_then(tmp_path: Path) -> None:
    key = tmp_path / "id"
    keygen("-t", "ed25519", "-N", PASSPHRASE, "-f", key)
    keys = ring(tmp_path)
    assert await keys.problem(str(key))
    with_passphrase(tmp_path, key, PASSPHRASE)
    assert await keys.problem(str(key)) == ""


async def test_default_key__is_a_credential_unless_the_environment_has_one(tmp_path: Path) -> None:
    key = tmp_path / CREDENTIAL
    keygen("-t", "ed25519", "-N", PASSPHRASE, "-f", key)
    assert "has a passphrase" in await ring(tmp_path).problem("")
    with_passphrase(tmp_path, key, PASSPHRASE)
    assert (await offered(ring(tmp_path), target_with("")))[0] == ["ssh-ed25519"]
    data = key.read_bytes()
    key.unlink()
    assert (await offered(ring(tmp_path, data), target_with("")))[0] == ["ssh-ed25519"]
    assert "TENDHOST_SSH_KEY is not a private key" in await ring(tmp_path, b"x").problem("")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o606, 0o660, 0o601, 0o777])
async def test_key__that_others_can_read_is_refused_with_its_mode(
    tmp_path: Path, mode: int
) -> None:
    key = tmp_path / "id"
    keygen("-t", "ed25519", "-N", "", "-f", key)
    key.chmod(mode)
    problem = await ring(tmp_path).problem(str(key))
    assert (
        f"{key} is not secret: others may read it (mode {mode:04o}); run: chmod 600 {key}"
        in problem
    )
    for fine in (0o600, 0o400, 0o700):
        key.chmod(fine)
        assert await ring(tmp_path).problem(str(key)) == ""


async def test_passphrase__that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "id"
    keygen("-t", "ed25519", "-N", PASSPHRASE, "-f", key)
    with_passphrase(tmp_path, key, PASSPHRASE)
    (tmp_path / "id.passphrase").chmod(0o644)
    assert "the passphrase" in (problem := await ring(tmp_path).problem(str(key)))
    assert "is not secret: others may read it (mode 0644)" in problem


OTHERS = {
    "public": ("is a public key; expected the private key", ("-t", "ed25519"), "id.pub"),
    "public rsa": ("is a public key", ("-t", "rsa", "-b", "2048"), "id.pub"),
}


@pytest.mark.parametrize(("why", "kind", "name"), OTHERS.values(), ids=OTHERS)
async def test_public_key__in_the_place_of_the_private_one_is_named(
    tmp_path: Path, why: str, kind: tuple[str, ...], name: str
) -> None:
    keygen(*kind, "-N", "", "-f", tmp_path / "id")
    (tmp_path / name).chmod(0o600)
    assert why in await ring(tmp_path).problem(str(tmp_path / name))
    for form in ("PEM", "PKCS8", "RFC4716") if "rsa" in kind else ("RFC4716",):
        other = tmp_path / "converted"
        other.touch(mode=0o600)
        other.write_text(keygen("-e", "-m", form, "-f", tmp_path / "id.pub"))
        assert "is a public key" in await ring(tmp_path).problem(str(other)), form


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("@cert-authority * ssh-ed25519 AAAA", "is a known_hosts file"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "an X.509 certificate"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "puttygen KEY -O private-openssh"),
        ("AGE-SECRET-KEY-1QQ", "is a key of another program"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "is a key of another program"),
        ("#!/bin/sh\n", "is not a private key that can be read"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "not a"),
        ("", "is not a private key that can be read"),
    ],
)
async def test_file__that_is_something_else_is_named_with_what_was_expected(
    tmp_path: Path, content: str, why: str
) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o600)
    file.write_text(content)
    problem = await ring(tmp_path).problem(str(file))
    assert problem.startswith(f"the key {file} is ")
    assert why in problem
    assert "; expected " in problem


async def test_key_of_a_security_token__is_refused(tmp_path: Path) -> None:
    public_value = bytes(range(32))
    key = _SKEd25519Key(public_value, "ssh:", 1, b"handle")
    file = tmp_path / "id_ed25519_sk"
    for passphrase in (None, PASSPHRASE):
        file.touch(mode=0o600)
        # Not on the event loop: bcrypt takes its time.
        data = await asyncio.to_thread(key.export_private_key, "openssh", passphrase)
        file.write_bytes(data)
        with_passphrase(tmp_path, file, PASSPHRASE)
        problem = await ring(tmp_path).problem(str(file))
        assert problem.startswith(f"the key {file} needs a security token at each login")


async def test_default_key_with_a_passphrase__is_parsed_once_for_all_its_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, asked = tmp_path / "id", []
    keygen("-t", "ed25519", "-N", PASSPHRASE, "-f", key)
    with_passphrase(tmp_path, tmp_path / CREDENTIAL, PASSPHRASE)
    real = asyncssh.import_private_key

    def counted(data: bytes, passphrase: bytes | None = None) -> asyncssh.SSHKey:
        if passphrase:
            asked.append(threading.current_thread())
        return real(data, passphrase)

    monkeypatch.setattr(asyncssh, "import_private_key", counted)
    keys = ring(tmp_path, key.read_bytes())
    said = await asyncio.gather(*(keys.problem("") for _ in range(20)))
    assert set(said) == {""}
    assert len(asked) == 1
    assert asked[0] is not threading.main_thread()


# --- certificates ---------------------------------------------------------------------------------


def signed(
    folder: Path, *options: str, ca: str = "ca", key: str = "id", kind: str = "ed25519"
) -> Path:
    """A key with a certificate beside it, signed by an authority of its own."""
    for name in (ca, key):
        if not (folder / name).exists():
            keygen("-t", kind, "-N", "", "-f", folder / name)
    keygen("-s", folder / ca, "-I", "ops", *options, folder / f"{key}.pub")
    return folder / key


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_certificate_beside_the_key__is_offered_before_the_key_alone(
    tmp_path: Path, kind: str
) -> None:
    key = signed(tmp_path, "-n", "root,ops", "-V", "20260101:20270101", kind=kind)
    algorithms, note = await offered(ring(tmp_path), target_with(key))
    assert algorithms[0].endswith("-cert-v01@openssh.com")
    assert not algorithms[1].endswith("-cert-v01@openssh.com")
    assert (len(algorithms), note) == (2, "")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-n", "root", "-V", "20250101:20260101"), "expired at 2026-01-01 00:00:00 UTC"),
        (("-n", "root", "-V", "20270101:20280101"), "is not valid before 2027-01-01 00:00:00 UTC"),
        (("-h", "-n", "root"), "is for hosts, not for users"),
    ],
)
async def test_certificate__that_no_host_accepts_is_left_out_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], why: str
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    key = signed(tmp_path, *options)
    algorithms, note = await offered(ring(tmp_path), target_with(key))
    assert algorithms == ["ssh-ed25519"]
    assert note == f"the certificate {key}-cert.pub {why}"


async def test_certificate__that_is_none_or_of_another_key_is_left_out_and_noted(
    tmp_path: Path,
) -> None:
    key, beside = signed(tmp_path, "-n", "root"), tmp_path / "id-cert.pub"
    good = beside.read_bytes()
    signed(tmp_path, "-n", "root", key="other")
    for content, why in (
        (b"garbage", "cannot be read"),
        (good[: len(good) // 2], "cannot be read"),
        ((tmp_path / "id.pub").read_bytes(), "cannot be read"),
        ((tmp_path / "other-cert.pub").read_bytes(), "belongs to another key"),
    ):
        beside.write_bytes(content)
        algorithms, note = await offered(ring(tmp_path), target_with(key))
        assert algorithms == ["ssh-ed25519"]
        assert why in note


async def test_certificate__that_was_renewed_is_read_again(tmp_path: Path) -> None:
    key = signed(tmp_path, "-n", "root", "-V", "20250101:20260101")
    keys = ring(tmp_path)
    assert "expired" in (await offered(keys, target_with(key)))[1]
    signed(tmp_path, "-n", "root", "-V", "20260101:20270101")
    assert (await offered(keys, target_with(key)))[1] == ""
    (tmp_path / "id-cert.pub").unlink()
    assert await offered(keys, target_with(key)) == (["ssh-ed25519"], "")


async def test_refused_login__says_what_is_wrong_with_the_certificate(
    connectors: Connectors, tmp_path: Path, login_key: asyncssh.SSHKey
) -> None:
    key = signed(tmp_path, "-n", "deploy")
    connector: SshConnector = connectors(QUICK)
    async with listening(accepts=login_key) as server:
        target = replace(target_with(key), port=server.port, host_key=public(server.key))
        with pytest.raises(AuthenticationRefused, match="is for deploy, not for 'root'"):
            await connector.connect(target)


async def test_key_that_is_gone__is_still_an_error_of_the_login(
    connector: SshConnector, tmp_path: Path
) -> None:
    with pytest.raises(KeyUnusable, match="No such file or directory; expected a file on the serv"):
        await connector.connect(target_with(tmp_path / "gone"))
