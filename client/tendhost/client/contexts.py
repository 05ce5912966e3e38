"""Contexts: servers under names of their own, with the credentials for each, in a file of the user."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from tendhost.client.errors import InvalidRequest
from tendhost.client.given_files import FileMissing, FileUnusable, read_given

NAME_FORM = "1 to 64 letters, digits and . _ @ + - of which the first is a letter or a digit"
_NAME = re.compile(r"[^\W_][\w.@+-]{0,63}")
LARGEST_FILE = 4 << 20
"""Bytes of a file that are read; bundles of all public CAs have a twentieth of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A server, and what is needed to call it; see Connection."""

    name: str
    server: str
    token: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """Every context of a user, and which is the current one."""

    path: Path
    contexts: tuple[Context, ...] = ()
    current_name: str = ""

    @property
    def current(self) -> Context | None:
        """The context that is used where none is named; None: there is none."""
        return next((c for c in self.contexts if c.name == self.current_name), None)

    def named(self, name: str) -> Context:
        """The context of this name. Raises InvalidRequest."""
        for context in self.contexts:
            if context.name == name:
                return context
        raise InvalidRequest(f"there is no context {name!r}; the contexts: {self.names}")

    @property
    def names(self) -> str:
        """The names of all contexts, as errors show them."""
        return ", ".join(context.name for context in self.contexts) or "none"

    def used(self, name: str) -> "Contexts":
        """With this context as the current one. Raises InvalidRequest."""
        return replace(self, current_name=self.named(name).name)

    def with_context(self, context: Context) -> "Contexts":
        """With this context, in place of the one of its name, as the current one. Raises InvalidRequest."""
        require_name(context.name)
        others = tuple(c for c in self.contexts if c.name != context.name)
        return replace(self, contexts=(*others, context), current_name=context.name)

    def without(self, name: str) -> "Contexts":
        """Without this context. Raises InvalidRequest."""
        gone = self.named(name)
        others = tuple(c for c in self.contexts if c.name != gone.name)
        current = "" if self.current_name == gone.name else self.current_name
        return replace(self, contexts=others, current_name=current)

    def save(self) -> None:
        """Write the file, whole or not at all, for its owner only. Raises InvalidRequest."""
        content = {
            "current": self.current_name,
            "contexts": [asdict(context) for context in self.contexts],
        }
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2)
            new.replace(self.path)
        except OSError as error:
            raise InvalidRequest(f"{self.path} cannot be written: {error.strerror}") from error


def require_name(name: str) -> None:
    """Raise InvalidRequest for what cannot be the name of a context."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"invalid name {name!r} of a context, expected {NAME_FORM}")


def load_contexts(environment: Mapping[str, str]) -> Contexts:
    """The contexts of the user: none where there is no file.

    Raises InvalidRequest for a file that cannot be read, or that others may read.
    """
    base = environment.get("XDG_CONFIG_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".config"
    path = root / "tendhost" / "contexts.json"
    try:
        given = read_given(path, most=LARGEST_FILE)
        content = json.loads(given.data.decode("utf-8"))
        if given.exposed:
            raise InvalidRequest(
                f"{path} holds credentials, and others may read it; run: chmod 600 {path}"
            )
        return Contexts(
            path=path,
            contexts=tuple(_context(given) for given in content["contexts"]),
            current_name=_text(content["current"]),
        )
    except FileMissing:
        return Contexts(path=path)
    except FileUnusable as error:
        raise InvalidRequest(f"{path} {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest(
            f"{path} is not a file of contexts; remove it and log in again: tendhost login"
        ) from error


def _context(given: Mapping[str, object]) -> Context:
    known = {f.name for f in fields(Context)}
    return Context(**{name: _text(value) for name, value in given.items() if name in known})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
