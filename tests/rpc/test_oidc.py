"""JWTs of an issuer that the test runs itself, through a real channel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest

from tendhost.server.config import load_settings
from tendhost.server.domain.access.listen import listener_of
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.engine.waiting import CEILING
from tendhost.server.oidc_settings import trusted_issuers
from tendhost.server.rpc import server
from tendhost.v1 import access_service_pb2 as pb
from tendhost.v1 import event_service_pb2, host_pb2, host_service_pb2, selection_service_pb2
from tests.rpc.api import Api, client, refusal
from tests.rpc.streams import hello, read_to_the_end
from tests.unit.engine.world import World
from tests.unit.jwt_issuer import (
    ISSUER,
    NOW,
    Publisher,
    claims,
    part,
    pem,
    private_key,
    public_jwk,
    published,
    publishing,
    token,
)

TABLE = f"""
[[oidc_issuer]]
name = "company"
issuer = "{ISSUER}"
audience = ["tendhost"]
allow_http_on_loopback = true
viewer = ["staff"]
operator = ["ops"]
admin = ["root"]
"""


@pytest.fixture
def publisher():
    with publishing() as publisher:
        publisher.body = published(public_jwk("ES256"), public_jwk("RS256"), public_jwk("EdDSA"))
        yield publisher


@asynccontextmanager
async def trusting(world: World, folder: Path, tables: str) -> AsyncIterator[tuple[Api, Api]]:
    """A server that is configured so: a client on its socket, and one on its port."""
    file = folder / "tendhostd.toml"
    file.write_text(tables)
    settings = load_settings(file=file, environment={}, options={})
    listeners = [listener_of(f"unix:{folder}/own/server.sock"), listener_of("127.0.0.1:0")]
    async with (
        world.running(issuers=trusted_issuers(settings)) as engine,
        server.serving(engine, listeners=listeners, socket_owner="owner") as (socket, port),
        client(world, socket) as owner,
        client(world, port) as other,
    ):
        yield owner, other


def bearer(text: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {text}"),)


async def caller(api: Api, text: str) -> pb.GetCallerResponse:
    response = await api.access.GetCaller(pb.GetCallerRequest(), metadata=bearer(text))
    assert isinstance(response, pb.GetCallerResponse)
    return response


async def refused(api: Api, text: str) -> str:
    """What is said of a credential, which is never repeated, in whole or in part."""
    told = await refusal(caller(api, text))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID")
    assert not any(piece in told.text for piece in text.split(".") if len(piece) > 8)
    return told.text


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS384", "EdDSA"])
async def test_token_of_the_issuer__names_its_principal(
    world: World, tmp_path: Path, publisher: Publisher, algorithm: str
):
    async with trusting(world, tmp_path, f"{TABLE}jwks_url = '{publisher.url}'") as (_, port):
        key = "RS256" if algorithm == "PS384" else algorithm
        text = jwt.encode(
            claims(), private_key(key), algorithm=algorithm, headers={"kid": f"{key}-0"}
        )
        found = await caller(port, text)
    assert (found.principal, found.credential_kind, found.credential_id, list(found.roles)) == (
        "company+kim",
        pb.CREDENTIAL_KIND_JWT,
        "company/4f1c",
        [pb.ROLE_OPERATOR],
    )


def hmac_signed(secret: bytes, algorithm: str = "HS256") -> str:
    """As an attacker makes it: PyJWT refuses to sign with a public key."""
    import hashlib
    import hmac

    head = f"{part({'alg': algorithm, 'kid': 'ES256-0'})}.{part(claims(roles=['root']))}"
    return f"{head}.{part(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")
BAD = {
    "none": (f"{part({'alg': 'none'})}.{part(claims())}.", "unsigned tokens"),
    "None": (f"{part({'alg': 'None', 'kid': 'ES256-0'})}.{part(claims())}.", "unsigned tokens"),
    "no algorithm": (f"{part({'kid': 'ES256-0'})}.{BODY}.{SIGNATURE}", "unsigned tokens"),
    "no signature": (f"{HEAD}.{BODY}.", "its signature is wrong"),
    "HMAC with the public key": (hmac_signed(pem()), "shared secret"),
    "HMAC with the key set": (hmac_signed(published(), "HS512"), "shared secret"),
    "other claims": (f"{HEAD}.{part(claims(roles=['root']))}.{SIGNATURE}", "signature is wrong"),
    "other key": (
        jwt.encode(claims(), private_key("ES256", 7), "ES256", headers={"kid": "ES256-0"}),
        "its signature is wrong",
    ),
    "kind of key": (token("RS256", headers={"kid": "ES256-0"}), "names a key that is unknown"),
    "unknown kid": (token(headers={"kid": "another"}), "names a key that is unknown"),
    "kid that is no text": (
        f"{part({'alg': 'ES256', 'kid': 1})}.{BODY}.{SIGNATURE}",
        "'kid' that is no text",
    ),
    "critical": (f"{part({'alg': 'ES256', 'crit': ['x']})}.{BODY}.{SIGNATURE}", "'crit'"),
    "issuer": (token(iss="https://sso.example.com"), "no [[oidc_issuer]] of the server's"),
    "issuer with a slash": (token(iss=f"{ISSUER}/"), "no [[oidc_issuer]] of the server's"),
    "no issuer": (token(iss=None), "names no issuer"),
    "audience": (token(aud="another"), "it is for another audience"),
    "audiences": (token(aud=["another", "one"]), "it is for another audience"),
    "no audience": (token(aud=None), "it is for another audience"),
    "expired": (
        token(exp=int((NOW - timedelta(seconds=31)).timestamp())),
        "it expired at 2026-03-01 11:59:29 UTC",
    ),
    "not yet": (
        token(nbf=int((NOW + timedelta(hours=1)).timestamp())),
        "it is not valid before 2026-03-01 13:00:00 UTC",
    ),
    "issued later": (
        token(iat=int((NOW + timedelta(hours=1)).timestamp())),
        "it is not valid before",
    ),
    "no expiry": (token(exp=None), "would never expire"),
    "roles": (token(roles=["guests"]), "has no value that oidc_issuer 'company' maps to a role"),
    "no roles": (token(roles=None), "has no value that oidc_issuer 'company' maps to a role"),
    "name": (token(sub="auth0|123"), "gives no name"),
    "cut off": (GOOD[:-20], "its signature is wrong"),
    "cut off before": (f"{HEAD}.{BODY}", "it was cut off"),
    "cut off early": (HEAD, "it was cut off"),
    "doubled": (GOOD + GOOD, "it was cut off or altered"),
    "encrypted": (f"{part({'alg': 'dir', 'enc': 'A128GCM'})}.a.b.c.d", "it is encrypted"),
    "nested": (f"{part(b'[' * 5000)}.{part(claims())}.", "cannot be decoded"),
    "header is a list": (f"{part([])}.{part(claims())}.", "holds no JSON object as its header"),
}


@pytest.mark.parametrize("bad", BAD)
async def test_token_that_is_not_good__is_refused_in_words(
    world: World, tmp_path: Path, publisher: Publisher, bad: str
):
    text, words = BAD[bad]
    async with trusting(world, tmp_path, f"{TABLE}jwks_url = '{publisher.url}'") as (_, port):
        assert words in await refused(port, text)
        assert (await caller(port, token())).principal == "company+kim"


async def test_token_of_this_server__is_recognised_beside_an_issuer(
    world: World, tmp_path: Path, publisher: Publisher
):
    async with trusting(world, tmp_path, f"{TABLE}jwks_url = '{publisher.url}'") as (owner, port):
        made = await owner.access.CreateToken(
            pb.CreateTokenRequest(principal="ci", roles=[pb.ROLE_VIEWER])
        )
        assert (await caller(port, made.text)).credential_kind == pb.CREDENTIAL_KIND_TOKEN
        assert "it does not begin with tend_" in await refused(port, "another")
        assert "it has 8 characters" in await refused(port, "tend_a.b")


async def test_server_without_issuers__says_so(world: World, tmp_path: Path):
    async with trusting(world, tmp_path, "") as (_, port):
        assert "has no [[oidc_issuer]]" in await refused(port, token())


async def test_role_of_the_token__decides_what_its_caller_may_do(
    world: World, tmp_path: Path, publisher: Publisher
):
    request = host_service_pb2.RegisterHostRequest(
        config=host_pb2.HostConfig(name="web1", address="web1.example.org")
    )
    world.fleet.add("web1.example.org")
    async with trusting(world, tmp_path, f"{TABLE}jwks_url = '{publisher.url}'") as (owner, port):
        told = await refusal(port.hosts.RegisterHost(request, metadata=bearer(token())))
        assert told.reason == "PERMISSION_MISSING"
        await port.hosts.RegisterHost(request, metadata=bearer(token(roles=["ops", "root"])))
        entries = (await owner.access.ListAuditRecords(pb.ListAuditRecordsRequest())).records
    assert [
        (record.principal, record.credential_kind, record.credential_id, record.result)
        for record in entries
    ] == [
        ("company+kim", pb.CREDENTIAL_KIND_JWT, "company/4f1c", "OK"),
        ("company+kim", pb.CREDENTIAL_KIND_JWT, "company/4f1c", "PERMISSION_MISSING"),
    ]


BOUND = """
groups_claim = "hosts"
unbound = ["root"]
"""


async def test_claim_with_groups__binds_its_caller_to_their_hosts(
    world: World, tmp_path: Path, publisher: Publisher
):
    tables = f"{TABLE}{BOUND}jwks_url = '{publisher.url}'"
    async with trusting(world, tmp_path, tables) as (owner, port):
        for name, group in (("web1", "web"), ("db1", "db")):
            await owner.register(name, groups=[group])

        async def seen(**changed: Any) -> list[str]:
            page = await port.hosts.ListHosts(
                host_service_pb2.ListHostsRequest(), metadata=bearer(token(**changed))
            )
            return [host.config.name for host in page.hosts]

        assert await seen(hosts=["web"]) == ["web1"]
        assert await seen(hosts="db") == ["db1"]
        assert await seen(hosts=["gone"]) == []
        assert await seen(roles=["ops", "root"], hosts=["web"]) == ["db1", "web1"]
        for bad in (None, [], "", 1, ["*"], {"web": True}, ["a b"], [f"g{n}" for n in range(65)]):
            assert "its claim 'hosts'" in await refused(port, token(hosts=bad))
        listed = selection_service_pb2.ListSelectionsRequest()
        metadata = bearer(token(hosts="web"))
        told = await refusal(port.selections.ListSelections(listed, metadata=metadata))
        assert told.reason == "CALL_NOT_SCOPED"


async def test_issuer_that_does_not_answer__delays_nobody_else(
    world: World, tmp_path: Path, publisher: Publisher
):
    other = TABLE.replace("company", "slow").replace(ISSUER, "https://slow.example.org")
    with publishing() as slow:
        slow.hold.clear()
        tables = f"{TABLE}jwks_url = '{publisher.url}'\n{other}jwks_url = '{slow.url}'"
        async with trusting(world, tmp_path, tables) as (owner, port):
            waiting = asyncio.ensure_future(caller(port, token(iss="https://slow.example.org")))
            for _ in range(50):
                assert (await caller(port, token())).principal == "company+kim"
            made = pb.CreateTokenRequest(principal="ci", roles=[pb.ROLE_VIEWER])
            assert (await owner.access.CreateToken(made)).text
            assert not waiting.done()
            slow.body = published()
            slow.hold.set()
            assert (await waiting).principal == "slow+kim"


async def test_new_key__is_read_once_a_minute_at_most(
    world: World, tmp_path: Path, publisher: Publisher
):
    async with trusting(world, tmp_path, f"{TABLE}jwks_url = '{publisher.url}'") as (_, port):
        await caller(port, token())
        assert publisher.asked == 1
        publisher.body = published(public_jwk("ES256", 1))
        assert "read again once a minute" in await refused(port, token("ES256", 1))
        assert publisher.asked == 1
        world.clock.advance(timedelta(minutes=1))
        assert (await caller(port, token("ES256", 1))).principal == "company+kim"
        assert publisher.asked == 2
        # What the issuer no longer publishes is no longer good, also if it was before.
        assert "names a key that is unknown" in await refused(port, token())


async def test_file_of_keys__serves_without_a_network(world: World, tmp_path: Path):
    file = tmp_path / "jwks.json"
    file.write_bytes(published())
    async with trusting(world, tmp_path, f"{TABLE}jwks_file = '{file}'") as (_, port):
        assert (await caller(port, token())).principal == "company+kim"
        # Another key takes the place of the first.
        file.write_bytes(published(public_jwk("ES256", 1)))
        world.clock.advance(timedelta(minutes=1))
        assert (await caller(port, token("ES256", 1))).principal == "company+kim"
        assert "names a key that is unknown" in await refused(port, token())


async def test_stream__ends_within_a_minute_once_its_token_expires(world: World, tmp_path: Path):
    file = tmp_path / "jwks.json"
    file.write_bytes(published())
    async with trusting(world, tmp_path, f"{TABLE}jwks_file = '{file}'") as (_, port):
        now = world.clock.now()
        text = token(exp=int((now + timedelta(seconds=90)).timestamp()))
        request = event_service_pb2.WatchEventsRequest(snapshot=True)
        stream = port.events.WatchEvents(request, metadata=bearer(text))
        await hello(stream)
        reading = asyncio.ensure_future(read_to_the_end(stream))

        async def over() -> bool:
            return reading.done()

        await world.until(over)
        ended = await refusal(reading)
        assert ended.reason == "CREDENTIAL_INVALID"
        assert "it has expired" in ended.text
        leeway = timedelta(seconds=30)
        assert world.clock.now() <= now + timedelta(seconds=90) + leeway + 2 * CEILING


async def test_token__is_good_for_as_long_as_clocks_may_differ(world: World, tmp_path: Path):
    file = tmp_path / "jwks.json"
    file.write_bytes(published())
    async with trusting(world, tmp_path, f"{TABLE}jwks_file = '{file}'") as (_, port):
        text = token(exp=int((world.clock.now() - timedelta(seconds=29)).timestamp()))
        assert (await caller(port, text)).principal == "company+kim"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "jwks_url, jwks_file: invalid value '', expected one of them"),
        ("jwks_url = 'https://a.example'\njwks_file = '/x'", "expected one of them"),
        ("jwks_url = 'http://sso.example.org'", "expected an https address"),
        ("jwks_url = 'http://192.0.2.7/certs'", "expected an https address"),
        ("jwks_url = 'https://user:s3cret@sso.example.org'", "expected an https address"),
        ("jwks_url = 'ftp://127.0.0.1/certs'", "expected an https address"),
        ("jwks_file = '/nowhere'", "a file with a JWK set (it cannot be read: No such file"),
        ("jwks_url = 'https://a.example'\nalgorithms = ['HS256']", "algorithms: invalid value"),
        ("jwks_url = 'https://a.example'\nalgorithms = ['none']", "algorithms: invalid value"),
        ("jwks_url = 'https://a.example'\nunbound = ['root']", "no claim binds callers"),
        (
            "jwks_url = 'https://a.example'\ngroups_claim = 'g'\nunbound = ['x']",
            "expected a value that gives a role",
        ),
        ("jwks_url = 'https://a.example'\nprincipal_prefix = 'a b'", "principal_prefix: invalid"),
    ],
)
def test_table_that_cannot_be_used__is_refused_at_the_start(tmp_path: Path, lines: str, words: str):
    file = tmp_path / "tendhostd.toml"
    file.write_text(f"{TABLE}{lines}")
    settings = load_settings(file=file, environment={}, options={})
    with pytest.raises(ConfigurationError) as caught:
        trusted_issuers(settings)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_http_on_loopback__has_to_be_permitted(tmp_path: Path):
    file = tmp_path / "tendhostd.toml"
    table = TABLE.replace("allow_http_on_loopback = true", "")
    file.write_text(f"{table}jwks_url = 'http://127.0.0.1:1/certs'")
    settings = load_settings(file=file, environment={}, options={})
    with pytest.raises(ConfigurationError, match="allow_http_on_loopback"):
        trusted_issuers(settings)
