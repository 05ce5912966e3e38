"""The forms in which users name the host key that they expect: what ssh-keygen(1) and ssh-keyscan(1) print."""

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tendhost.server.domain.hosts.host_keys import (
    KINDS,
    expected_keys,
    fingerprint,
    known_keys,
)
from tests.tools import needs

NAMES = ("10.0.0.5", "web1", "[10.0.0.5]:2222", "[web1]:2222")
TYPES = {"ssh-ed25519": "ed25519", "ecdsa-sha2-nistp256": "ecdsa", "ssh-rsa": "rsa"}


def made_up(kind: str, body: bytes) -> str:
    """A public key of this kind, as type and base64."""
    fields = (kind.encode(), body)
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return f"{kind} {base64.b64encode(blob).decode()}"


ED25519, ECDSA, RSA = (made_up(kind, kind.encode() * 3) for kind in TYPES)
OTHER = made_up("ssh-ed25519", b"other" * 6)


def keygen(*arguments: str | Path, input: str = "") -> str:
    done = subprocess.run(
        ["ssh-keygen", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        input=input,
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Public keys of each kind, made by ssh-keygen; comments as people have them."""
    folder = tmp_path_factory.mktemp("keys")
    comments = {"ed25519": "root@web 1 (RSA)", "ecdsa": "", "rsa": "# SHA256: of MD5:aa"}
    for name, comment in comments.items():
        keygen("-q", "-t", name, "-N", "", "-C", comment, "-f", folder / name)
    return {name: folder / f"{name}.pub" for name in comments}


@needs("ssh-keygen")
@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["-l"],
        ["-l", "-E", "md5"],
        ["-l", "-E", "sha1"],
        ["-l", "-E", "sha512"],
        ["-lv"],
        ["-r", "web1"],
    ],
    ids=" ".join,
)
def test_what_ssh_keygen_prints__names_that_key_and_no_other(
    key_files: dict[str, Path], name: str, arguments: list[str]
):
    printed = keygen(*arguments, "-f", key_files[name])
    lines = [line for line in printed.splitlines() if not line.startswith(("|", "+"))]
    for line in lines:  # the drawing of -lv is no line of a key
        expected = expected_keys(line)
        for other, path in key_files.items():
            key = " ".join(path.read_text().split()[:2])
            assert expected.matches(key) is (other == name), line


@needs("ssh-keygen")
def test_what_ssh_keygen_exports__names_its_keys(key_files: dict[str, Path]):
    exported = {name: keygen("-e", "-f", path) for name, path in key_files.items()}
    keys = {name: " ".join(path.read_text().split()[:2]) for name, path in key_files.items()}
    for name, text in exported.items():
        assert text.startswith("---- BEGIN SSH2 PUBLIC KEY ----")
        assert expected_keys(text).keys == (keys[name],)
    of_all = expected_keys("\n".join((exported["rsa"], keys["ecdsa"], exported["ed25519"])))
    assert set(of_all.keys) == set(keys.values())
    begin, end = "---- BEGIN SSH2 PUBLIC KEY ----", "---- END SSH2 PUBLIC KEY ----"
    body = keys["ed25519"].split()[1]
    headers = 'Comment: "a \\\nlong: one"\nx-ours: yes\n'
    told = f"{begin}\n{headers}{body[:40]}\n{body[40:]}\n{end}"
    assert expected_keys(told).keys == (keys["ed25519"],)
    with pytest.raises(ValueError, match=r"damaged or cut off|another format"):
        expected_keys(f"{begin}\n{headers}{body[:40]}\n{end}")


@needs("ssh-keygen")
@pytest.mark.parametrize("hashed", [False, True])
def test_known_hosts_file__names_the_keys_of_its_host_only(
    key_files: dict[str, Path], tmp_path: Path, hashed: bool
):
    keys = {name: " ".join(path.read_text().split()[:2]) for name, path in key_files.items()}
    file = tmp_path / "known_hosts"
    file.write_text(
        f"web9 {keys['ecdsa']} comment\n"
        f"[web1]:2222,[10.0.0.5]:2222 {keys['rsa']}\n"
        f"web1,10.0.0.5 {keys['ed25519']}\n"
    )
    if hashed:
        keygen("-H", "-f", file)
    expected = expected_keys(file.read_text(), NAMES)
    assert [expected.matches(keys[name]) for name in ("ed25519", "rsa", "ecdsa")] == [
        True,
        True,
        False,
    ]
    found = keygen("-F", "web1", "-f", file)
    assert expected_keys(found, ("10.9.9.9",)).matches(keys["ed25519"])  # one line, chosen
    with pytest.raises(ValueError, match=r"none of them is 10\.9\.9\.9"):
        expected_keys(file.read_text(), ("10.9.9.9",))
    for line in file.read_text().splitlines():
        assert expected_keys(line, ("10.9.9.9",)).keys


FORMS = [
    lambda key: key,
    lambda key: f"{key} root@web1 with spaces",
    lambda key: f"web1 {key}",
    lambda key: f"web1,10.0.0.5,!web2 {key} comment",
    lambda key: f"[web1]:2222 {key}",
    lambda key: f"# web1:22 SSH-2.0-OpenSSH_9.2\n\nweb1 {key}\nweb1 {OTHER}",
    lambda key: f"  {fingerprint(key)}\n",
    lambda key: f"{fingerprint(key)}=",
    lambda key: fingerprint(key).replace("SHA256", "sha256"),
    lambda key: f"256 {fingerprint(key)} ssh-rsa AAAA (ED25519)",
    lambda key: f"web1 ED25519 {fingerprint(key)} root@web 1",
    lambda key: f"ED25519 key fingerprint is {fingerprint(key)}.",
    lambda key: f"256 {fingerprint(key)} a (ED25519)\n3072 {fingerprint(OTHER)} b (RSA)",
]


@pytest.mark.parametrize("form", FORMS)
@given(kind=st.sampled_from(KINDS), body=st.binary(min_size=1, max_size=600))
def test_expected_key__is_named_in_every_form(form, kind: str, body: bytes):
    key = made_up(kind, body)
    expected = expected_keys(form(key), NAMES)
    assert expected.matches(key)
    assert expected.matches(f"{key} comment")
    assert kind in expected.kinds
    assert not expected.matches(made_up(kind, body + b"x"))
    assert fingerprint(key) in str(expected)


@given(st.text(max_size=80))
def test_any_text__names_keys_or_is_refused_with_a_reason(text: str):
    try:
        told: object = expected_keys(text, NAMES).kinds
    except ValueError as error:
        told = str(error)
    assert told


@given(st.integers(min_value=1, max_value=60))
def test_key_that_is_cut_off__is_refused(size: int):
    kind, text = ED25519.split()
    cut = f"{kind} {text[: min(size, len(text.rstrip('=')) - 1)]}"
    with pytest.raises(ValueError, match="damaged or cut off"):
        expected_keys(cut)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (fingerprint(RSA)[:-1], "it has 42 characters, expected 43"),
        (f"256 {fingerprint(RSA)[:20]} root@web1 (RSA)", "damaged or cut off"),
        ("SHA256:", "cut off"),
        ("MD5:aa:bb", "expected a fingerprint"),
        (f"@cert-authority *.example.org {RSA}", "certificate authority"),
        (f"@revoked * {RSA}", "revokes this key"),
        (f"@other * {RSA}", "expected a fingerprint"),
        (f"@revoked {RSA}", "expected a fingerprint"),
        (made_up("ssh-dss", b"p" * 40), "ssh-dss: no login accepts"),
        (f"web1 {made_up('sk-ssh-ed25519@openssh.com', b'x')}", "no login accepts"),
        (made_up("ssh-ed25519-cert-v01@openssh.com", b"x"), "no login accepts"),
        ("---- BEGIN SSH2 PUBLIC KEY ----", "another format"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "this is a private key"),
        ("-----BEGIN PUBLIC KEY-----\nMIIB", "ssh-keygen -i -m PKCS8 -f FILE converts"),
        ("/etc/ssh/ssh_host_ed25519_key.pub", "expected a fingerprint"),
        ("256 xelem-selyb-nenym root@web1 (ED25519)", "expected a fingerprint"),
        ("web1 IN SSHFP 4 2 6c736c", "SSHFP record"),
        ("web1 IN SSHFP 4", "SSHFP record"),
        (f"{fingerprint(RSA)} {fingerprint(ECDSA)}", "more than one fingerprint"),
        ("# a comment", "expected a fingerprint"),
    ],
)
def test_what_is_no_key__is_refused_with_the_reason(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        expected_keys(text, NAMES)


def test_revoked_key__is_not_accepted_beside_the_line_that_names_it():
    expected = expected_keys(f"web1 {RSA}\nweb1 {ECDSA}\n@revoked * {RSA}", NAMES)
    assert expected.matches(ECDSA)
    assert expected_keys(f"web1 {RSA}\n@revoked web1 {RSA}\nweb1 {ECDSA}", NAMES).matches(ECDSA)
    revoking = expected_keys(f"@revoked web1 {RSA}\nweb1 {RSA}\nweb1 {ECDSA}", NAMES)
    assert not revoking.matches(RSA)


@pytest.mark.parametrize(
    ("patterns", "counts"),
    [
        ("web1", True),
        ("WEB1", True),
        ("web?", True),
        ("w*,!web1", False),
        ("*.example.org", False),
        ("[web1]:2222", True),
        ("[web1]:2223", False),
        ("web1.example.org", False),
        ("|1|damaged", False),
    ],
)
def test_line_of_a_file__counts_only_for_the_hosts_that_it_names(patterns: str, counts: bool):
    text = f"{patterns} {RSA}\nweb9 {ECDSA}\n10.0.0.5 {ED25519}"
    assert expected_keys(text, NAMES).matches(RSA) is counts


def test_kinds__begin_with_the_one_that_is_named_beside_a_fingerprint():
    assert expected_keys(f"2048 {fingerprint(RSA)} x (RSA)").kinds[0] == "ssh-rsa"
    assert set(expected_keys(fingerprint(RSA)).kinds) == set(KINDS)
    assert expected_keys(RSA).kinds == ("ssh-rsa",)


# --- known_hosts files ----------------------------------------------------------------------------

HOSTS = ("web1", "web2", "10.0.0.5", "web1.example.org", "db.example.net")
PATTERNS = [
    *(*HOSTS, "[web1]:22", "[web1]:2222", "[10.0.0.5]:2222", "web1,10.0.0.5", "web2,[web1]:2222"),
    *("*.example.org", "web?", "*", "*,!web1", "!web1,*", "!web2", "[web*]:*", "WEB1"),
]
SOME_KEYS = tuple(made_up("ssh-ed25519", bytes([n]) * 32) for n in range(4))
known_lines = st.lists(
    st.tuples(
        st.sampled_from(["", "", "", "@revoked ", "@cert-authority "]),
        st.sampled_from(PATTERNS),
        st.sampled_from(SOME_KEYS),
    ),
    max_size=6,
)


def looked_up(file: Path, name: str) -> set[tuple[str, str]]:
    """What ssh-keygen(1) finds: markers and keys."""
    done = subprocess.run(
        ["ssh-keygen", "-F", name, "-f", file], capture_output=True, text=True, check=False
    )
    lines = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    return {(w[0] if w[0].startswith("@") else "", " ".join(w[-2:])) for w in lines}


@needs("ssh-keygen")
@settings(max_examples=60, deadline=None)
@given(
    lines=known_lines,
    name=st.sampled_from(HOSTS),
    port=st.sampled_from([22, 2222]),
    hashed=st.booleans(),
)
def test_known_hosts_file__names_what_ssh_keygen_finds_in_it(
    tmp_path_factory: pytest.TempPathFactory, lines, name: str, port: int, hashed: bool
):
    file = tmp_path_factory.mktemp("known") / "known_hosts"
    file.write_text("".join(f"{marker}{pattern} {key}\n" for marker, pattern, key in lines))
    if hashed:
        keygen("-H", "-f", file)
    found = looked_up(file, name if port == 22 else f"[{name}]:{port}")
    revoked = {key for marker, key in found if marker == "@revoked"}
    expected = {key for marker, key in found if not marker} - revoked
    try:
        known = known_keys(file.read_text(), [name], port)
        matching = {key for key in SOME_KEYS if known.matches(key)}
    except ValueError:
        matching = set()
    assert matching == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"web2 {ED25519}", "none of its 1 lines names web1"),
        (f"[web1]:2222 {ED25519}\nweb2 {RSA}", "none of its 2 lines names web1"),
        ("", "it is no known_hosts file: no line names web1"),
        (ED25519, "it is no known_hosts file"),
        (fingerprint(ED25519), "it is no known_hosts file"),
        ("web1 1024 35 1234567890", "it is no known_hosts file"),
        (f"@revoked * {ED25519}", "revokes this key"),
        (f"@revoked * {ED25519}\nweb1 {ED25519}", "revokes this key"),
        (f"@cert-authority * {ED25519}", "certificate authority"),
        (f"web1 {made_up('ssh-dss', b'x')}", "no login accepts"),
    ],
)
def test_known_hosts_file__without_a_key_of_the_host_says_so(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        known_keys(text, ["web1"], 22)


def test_known_hosts_file__may_have_lines_that_nobody_understands():
    text = f"# comment\n\nweb1 1024 35 123\n\0\xff garbage\nweb1 ssh-ed25519 AAA\n  web1 {RSA} x\n"
    assert known_keys(text, ["web1"], 22).keys == (RSA,)
