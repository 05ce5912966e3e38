"""The address of a database: postgresql://USER@HOST:PORT,HOST:PORT/DATABASE?OPTION=VALUE."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.given_files import FileUnusable, read_given

SCHEMES = ("postgresql", "postgres")
FORM = "postgresql://HOST:PORT/DATABASE?user=NAME, with several HOST:PORT separated by commas"
"""Without USER@, which would be taken for a secret wherever an error is printed."""
DEFAULT_PORT = 5432
PASSWORD_FILE = "password_file"  # noqa: S105  # the name of an option
LONGEST_PASSWORD = 4096
"""Bytes of a password's file."""
_SESSION = "target_session_attrs"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """Where a database is, and how to log in. `shown` is all of it that may stand in a text."""

    shown: str
    dsn: str = field(repr=False)
    """Without the hosts, for asyncpg."""
    hosts: tuple[tuple[str, int], ...]
    """Names, IP addresses, or folders of unix sockets, each with a port, in the order in which they are tried."""
    session: str = "read-write"
    """Which of the servers will do: target_session_attrs of libpq."""
    password_file: Path | None = None

    def password(self) -> str:
        """The password in `password_file`, as it is now. Raises ConfigurationError."""
        assert self.password_file is not None
        try:
            given = read_given(self.password_file, most=LONGEST_PASSWORD)
            return given.data.decode().rstrip("\r\n")
        except (FileUnusable, UnicodeDecodeError) as error:
            problem = str(error) if isinstance(error, FileUnusable) else "is no text"
            raise ConfigurationError(
                field=f"store: {PASSWORD_FILE}",
                value=str(self.password_file),
                expected=f"a file with a password; it {problem}",
            ) from None


def parse_address(text: str) -> DatabaseAddress:
    """The parts of an address. Raises ConfigurationError, which does not repeat the address: it may hold a password."""
    try:
        parts = urlsplit(text)
        if parts.scheme not in SCHEMES or parts.fragment:
            raise ValueError
        user, _, netloc = parts.netloc.rpartition("@")
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _refused() from None
    given = dict(options)
    if len(given) != len(options):
        raise _refused("each option once")
    hosts = tuple(_hosts(given.pop("host", "") or netloc, given.pop("port", "")))
    session, file = given.pop(_SESSION, "read-write"), given.pop(PASSWORD_FILE, "")
    database = unquote(parts.path.removeprefix("/"))
    if not database:
        raise _refused(f"the name of a database: {FORM}")
    name = f"{unquote(user.partition(':')[0])}@" if user else ""
    where = ",".join(f"{_bracketed(host)}:{port}" for host, port in hosts)
    return DatabaseAddress(
        shown=f"postgresql://{name}{where}/{database}",
        dsn=f"postgresql://{f'{user}@' if user else ''}/{parts.path.removeprefix('/')}?{urlencode(given)}",
        hosts=hosts,
        session=session,
        password_file=Path(file) if file else None,
    )


def _hosts(text: str, ports: str) -> list[tuple[str, int]]:
    names = text.split(",") if text else ["localhost"]
    given = ports.split(",") if ports else []
    found: list[tuple[str, int]] = []
    for number, name in enumerate(names):
        default = given[min(number, len(given) - 1)] if given else str(DEFAULT_PORT)
        host, port = _split(unquote(name), default)
        if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
            raise _refused()
        found.append((host, int(port)))
    return found


def _split(name: str, default: str) -> tuple[str, str]:
    if name.startswith("/"):
        return name, default
    if name.startswith("["):
        host, _, rest = name[1:].partition("]")
        return host, rest.removeprefix(":") or default
    host, _, port = name.partition(":")
    return host, port or default


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _refused(expected: str = FORM) -> ConfigurationError:
    return ConfigurationError(field="store", value="…", expected=expected)
