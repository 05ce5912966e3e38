"""Public host keys: their fingerprints, and the forms in which users name the key that they expect."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ssh-rsa",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
)
"""The kinds of host keys that a login accepts, in the order in which they are pinned."""

_KINDS_BY_NAME = {
    "ED25519": ("ssh-ed25519",),
    "ECDSA": ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    "RSA": ("ssh-rsa",),
}
"""What ssh-keygen(1) calls the kinds."""
_KEY_TYPE = re.compile(r"(ssh|ecdsa|sk-ssh|sk-ecdsa|webauthn)-[A-Za-z0-9@.-]+")
_HASHES = {"SHA256": 32, "SHA1": 20, "SHA384": 48, "SHA512": 64}
"""The hashes of ssh-keygen -E beside MD5, with the bytes of their digests."""
_FINGERPRINT = re.compile(r"(SHA(?:256|1|384|512)):(\S*?)[.,;]?", re.IGNORECASE)
_MD5 = re.compile(r"(?:MD5:)?((?:[0-9a-f]{2}:){15}[0-9a-f]{2})[.,;]?", re.IGNORECASE)
_SSHFP_HASHES = {"1": "SHA1", "2": "SHA256"}
"""RFC 4255, section 3.1.2, and RFC 6594."""
DEFAULT_PORT = 22
_MARKERS = ("@cert-authority", "@revoked")
"""Of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"."""

FORMS = (
    "expected a fingerprint (SHA256:…), a public key (ssh-ed25519 AAAA…), a line of ssh-keygen -l, or a line of a"
    " known_hosts file"
)


def fingerprint(host_key: str) -> str:
    """`SHA256:…` of a public key given as type and base64, as `ssh-keygen -l` prints it.

    Anything that is not such a key is given back as it is.
    """
    blob = _blob(host_key)
    return host_key if blob is None else _text("SHA256", _digest("SHA256", blob))


_RFC4716 = re.compile(
    r"^---- BEGIN SSH2 PUBLIC KEY ----\s*$(.*?)^---- END SSH2 PUBLIC KEY ----\s*$", re.DOTALL | re.M
)
"""A public key as `ssh-keygen -e` prints it: RFC 4716, section 3."""
_RFC4716_HEADER = re.compile(r"^[^:\n]{1,64}:(?:.*\\\n)*.*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ExpectedKeys:
    """The host keys that a user expects, any of which may be pinned."""

    keys: tuple[str, ...] = ()
    """Public keys, as type and base64."""
    digests: tuple[tuple[str, bytes], ...] = ()
    """Fingerprints: the name of the hash, and the digest."""
    revoked: tuple[str, ...] = ()
    """Public keys that are never accepted."""
    hinted: tuple[str, ...] = ()
    """Kinds that are named beside a fingerprint. They are looked at first."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of keys that may match, in the order in which to ask the host for them."""
        if self.digests:
            return tuple(dict.fromkeys((*self.hinted, *KINDS)))
        own = {key.partition(" ")[0] for key in self.keys}
        return tuple(kind for kind in KINDS if kind in own)

    def matches(self, host_key: str) -> bool:
        """Whether the host key is one of those expected."""
        key = " ".join(host_key.split()[:2])
        blob = _blob(key)
        if blob is None or key in self.revoked:
            return False
        return key in self.keys or any(_digest(name, blob) == it for name, it in self.digests)

    def all_in(self, shown: Sequence[str]) -> bool:
        """Whether `shown` has every key that is expected, as far as fingerprints and public keys tell them apart."""
        blobs = [blob for key in shown if (blob := _blob(key)) is not None]
        return set(self.keys) <= set(shown) and all(
            any(_digest(name, blob) == it for blob in blobs) for name, it in self.digests
        )

    def __str__(self) -> str:
        known = (*map(fingerprint, self.keys), *(_text(*digest) for digest in self.digests))
        return ", ".join(dict.fromkeys(known))


def expected_keys(text: str, names: Sequence[str] = ()) -> ExpectedKeys:
    """The keys that `text` names, in any of FORMS, one a line. Raises ValueError, which says what is wrong.

    `names` are the names of the host in a known_hosts file. Lines that name different hosts count only if they name
    one of `names`: a whole file must not let the key of any other host in. (A single line is the user's choice.)
    """
    lines = [line.strip() for line in _RFC4716.sub(_one_line, text).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise ValueError(FORMS)
    if "PRIVATE KEY" in lines[0]:
        raise ValueError(f"this is a private key, which nobody but its host is to have; {FORMS}")
    if lines[0].startswith("---"):
        other = (
            "this is a key file in another format, which ssh-keygen -i -m PKCS8 -f FILE converts"
        )
        raise ValueError(f"{other}; {FORMS}")
    parsed = [_parsed(line) for line in lines]
    of_hosts = {line.hosts for line in parsed if line.hosts}
    if len(of_hosts) > 1:
        parsed = [line for line in parsed if not line.hosts or patterns_match(line.hosts, names)]
        if not parsed:
            shown = " or ".join(names) or "this host"
            raise ValueError(f"it has lines for several hosts, and none of them is {shown}")
    found = ExpectedKeys(
        keys=tuple(line.key for line in parsed if line.key and not line.marker),
        digests=tuple(line.digest for line in parsed if line.digest is not None),
        revoked=tuple(line.key for line in parsed if line.marker == "@revoked"),
        hinted=tuple(kind for line in parsed for kind in line.hinted),
    )
    if not (found.kinds or found.digests):
        raise ValueError(_unusable(parsed))
    return found


def known_keys(text: str, names: Sequence[str], port: int) -> ExpectedKeys:
    """The keys of a host in the contents of a known_hosts file. Raises ValueError, which says what is wrong.

    Only lines that name the host count, hashed or not, as ssh(1) looks it up: by one of `names`, and for another port
    than 22 as "[name]:port". Lines that ssh(1) would not understand are skipped, as it does.
    """
    spelt = names_in_known_hosts(names, port)
    lines = [line for line in map(_known_hosts_line, text.splitlines()) if line is not None]
    own = [line for line in lines if patterns_match(line.hosts, spelt)]
    if not own:
        found = f"none of its {len(lines)} lines" if lines else "it is no known_hosts file: no line"
        raise ValueError(f"{found} names {' or '.join(spelt)}")
    known = ExpectedKeys(
        keys=tuple(line.key for line in own if not line.marker),
        revoked=tuple(line.key for line in own if line.marker == "@revoked"),
    )
    if not any(known.matches(key) for key in known.keys if key.partition(" ")[0] in KINDS):
        raise ValueError(_unusable(own))
    return known


def _known_hosts_line(line: str) -> "_KeyLine | None":
    """A line with a public key of a host; None: a comment, or a line that is of no use."""
    if line.lstrip().startswith("#"):
        return None
    try:
        parsed = _parsed(line)
    except ValueError:
        return None
    return parsed if parsed.hosts and parsed.key else None


def authority_line(line: str) -> tuple[str, str]:
    """The patterns and the public key of a line that names a certificate authority. Raises ValueError.

    Either a public key alone, for any name, or a @cert-authority line of a known_hosts file.
    """
    parsed = _parsed(line)
    if not parsed.key or parsed.marker == "@revoked" or (parsed.hosts and not parsed.marker):
        raise ValueError("it is not the public key of an authority")
    return parsed.hosts, parsed.key


def names_in_known_hosts(names: Sequence[str], port: int) -> tuple[str, ...]:
    """How a known_hosts file spells these names of a host, by the port of its sshd: "web1", or "[web1]:2222"."""
    return tuple(names if port == DEFAULT_PORT else (f"[{name}]:{port}" for name in names))


def _one_line(block: re.Match[str]) -> str:
    """A public key in the form of RFC 4716 as type and base64; as it is if it is damaged."""
    body = "".join(_RFC4716_HEADER.sub("", block[1].lstrip("\n")).split())
    blob = _blob(f"ssh2 {body}") or b""
    size = int.from_bytes(blob[:4], "big")
    kind = blob[4 : 4 + size].decode("ascii", "replace")
    return f"{kind} {body}\n" if _KEY_TYPE.fullmatch(kind) else block[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeyLine:
    marker: str = ""
    hosts: str = ""
    key: str = ""
    digest: tuple[str, bytes] | None = None
    hinted: tuple[str, ...] = ()


def _parsed(line: str) -> _KeyLine:
    words = line.split()
    at = next((n for n, word in enumerate(words[:3]) if _KEY_TYPE.fullmatch(word)), None)
    # A comment may hold anything. A line of ssh-keygen -l begins with the number of bits.
    if at is not None and at + 1 < len(words) and not words[0].isdigit():
        return _key_line(words, at)
    if "SSHFP" in words:
        return _sshfp_line(words[words.index("SSHFP") + 1 :])
    found = [digest for word in words if (digest := _named_digest(word)) is not None]
    if len(found) != 1:
        raise ValueError(f"{line[:60]!r}: {'more than one fingerprint; ' if found else ''}{FORMS}")
    names = (word.strip("()").upper() for word in words)
    hinted = tuple(kind for name in names for kind in _KINDS_BY_NAME.get(name, ()))
    return _KeyLine(digest=found[0], hinted=hinted)


def _key_line(words: Sequence[str], at: int) -> _KeyLine:
    before, (kind, text) = list(words[:at]), words[at : at + 2]
    marker = before.pop(0) if before and before[0].startswith("@") else ""
    if (marker and marker not in _MARKERS) or len(before) > 1 or (marker and not before):
        raise ValueError(f"{' '.join(words)[:60]!r}: {FORMS}")
    key = f"{kind} {text}"
    if not _is_whole(_blob(key) or b"", kind):
        raise ValueError(f"the public key {kind} {text[:20]}… is damaged or cut off")
    return _KeyLine(marker=marker, hosts=before[0] if before else "", key=key)


def _sshfp_line(words: Sequence[str]) -> _KeyLine:
    """The record of ssh-keygen -r: algorithm, hash, digest in hexadecimal."""
    try:
        _, hash_number, *digits = words
        name, digest = _SSHFP_HASHES[hash_number], bytes.fromhex("".join(digits))
    except (ValueError, KeyError):
        digest = b""
        name = "SHA256"
    if len(digest) != _HASHES[name]:
        raise ValueError(f"the SSHFP record is damaged or cut off; {FORMS}")
    return _KeyLine(digest=(name, digest))


def _named_digest(word: str) -> tuple[str, bytes] | None:
    """A fingerprint, if the word is one. Raises ValueError for one that is cut off."""
    if md5 := _MD5.fullmatch(word):
        return "MD5", bytes.fromhex(md5[1].replace(":", ""))
    if not (named := _FINGERPRINT.fullmatch(word)):
        return None
    name, text = named[1].upper(), named[2].rstrip("=")
    size = _HASHES[name]
    try:
        digest = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != size:
        expected = -(-size * 4 // 3)
        raise ValueError(
            f"the fingerprint {name}:{text} is damaged or cut off: it has {len(text)} characters, expected {expected}"
        )
    return name, digest


def _unusable(lines: Iterable[_KeyLine]) -> str:
    """Why none of the lines names a key that can be pinned."""
    markers = {line.marker for line in lines}
    if "@revoked" in markers:
        return "the line revokes this key; give the key that the host is to have"
    if "@cert-authority" in markers:
        return (
            "the line is of a certificate authority, which [[host_ca]] in the server's configuration names; give the"
            " host's own key"
        )
    kinds = ", ".join(sorted({line.key.partition(" ")[0] for line in lines}))
    return f"{kinds}: no login accepts this kind of host key; expected one of {', '.join(KINDS)}"


def patterns_match(patterns: str, names: Sequence[str]) -> bool:
    """Whether the first field of a known_hosts line is one of `names`, as sshd(8) describes it."""
    if patterns.startswith("|1|"):
        return any(_is_hash_of(patterns, name) for name in names)
    found = False
    for pattern in patterns.lower().split(","):
        negated = pattern.startswith("!")
        glob = re.escape(pattern.removeprefix("!")).replace(r"\*", ".*").replace(r"\?", ".")
        if any(re.fullmatch(glob, name.lower()) for name in names):
            if negated:
                return False
            found = True
    return found


def _is_hash_of(field: str, name: str) -> bool:
    """HashKnownHosts: |1|, the salt, and the HMAC-SHA1 of the name, both in base64."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in field[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    # No secret: OpenSSH chose the hash, and a name cannot be guessed from it more easily here.
    return hmac.digest(salt, name.lower().encode(), "sha1") == digest


def _blob(host_key: str) -> bytes | None:
    """The bytes of a public key given as type and base64; None: it is no such key."""
    try:
        return base64.b64decode(host_key.split()[1], validate=True)
    except (IndexError, binascii.Error):
        return None


def _is_whole(blob: bytes, kind: str) -> bool:
    """Whether the bytes are a public key of this kind: strings with their lengths, the first of them the kind
    (RFC 4253, section 6.6)."""
    strings = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            return False
        strings.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return len(strings) > 1 and strings[0] == kind.encode()


def _digest(name: str, blob: bytes) -> bytes:
    return hashlib.new(name, blob, usedforsecurity=False).digest()


def _text(name: str, digest: bytes) -> str:
    if name == "MD5":
        return f"MD5:{digest.hex(':')}"
    return f"{name}:{base64.b64encode(digest).decode().rstrip('=')}"
