"""Secrets in texts, known by their form."""

import os

import asyncssh
import pytest

from tendhost.server.domain.access.tokens import mint
from tendhost.server.domain.request_errors import (
    ConfigurationError,
    FieldViolation,
    InvalidArgument,
)
from tendhost.server.domain.secret_texts import environment_for_programs, without_secrets


def test_token__keeps_its_id_alone():
    id, text = mint(os.urandom)
    for shown in (text, f"'{text}'", text.upper(), text[:40], text * 2):
        assert text.split("_")[2][:20].lower() not in without_secrets(shown).lower()
    assert without_secrets(f"id: '{text}': is too long") == f"id: 'tend_{id}_…': is too long"


@pytest.mark.parametrize("form", ["openssh", "pkcs1-pem", "pkcs8-pem"])
def test_private_key__keeps_its_first_line_alone(form: str):
    text = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_private_key(form).decode()
    for shown in (text, repr(text), text[:90]):
        assert text.splitlines()[1][:20] not in without_secrets(shown)
    assert "must be a path" in without_secrets(f"{text!r}: must be a path")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:s3cret@repo.example.org/x", "https://…@repo.example.org/x"),
        ("failed: http://s3cret@h/ and ftp://a:b@c/", "failed: http://…@h/ and ftp://…@c/"),
        ("eyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln_x-y is expired", "eyJ… is expired"),
    ],
)
def test_credentials__are_taken_out(text: str, shown: str):
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "web1",
        "a@b.org",
        "https://h/x?to=a@b",
        "tend_short_x",
        "docker.io/x@sha256:abc",
        "://",
        "eyJ",
    ],
)
def test_text_without_secrets__stays_as_it_is(text: str):
    assert without_secrets(text) == text


def test_errors__hold_no_secrets():
    url = "tcp://me:s3cret@log:514"
    for error in (
        ConfigurationError(field="address", value=url, expected="an address"),
        InvalidArgument(FieldViolation("address", f"{url!r}: is none")),
    ):
        assert "s3cret" not in str(error)
    assert "s3cret" not in str(ConfigurationError(field="x", value=url, expected="y").facts())
    assert "s3cret" not in str(InvalidArgument(FieldViolation("x", url)).violations)


def test_programs__get_no_settings_of_tendhost():
    given = {"PATH": "/bin", "TENDHOST_SSH_KEY": "secret", "TENDHOST_TOKEN": "secret"}
    given |= {"PGPASSWORD": "secret", "PGPASSFILE": "/secret"}
    assert environment_for_programs(given) == {"PATH": "/bin"}
