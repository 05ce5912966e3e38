"""Shared parts of the compose scripts: finding docker compose, encoding paths."""

from urllib.parse import quote, unquote

from tendhost.server.domain.inventory.compose import ComposeVersion
from tendhost.server.domain.shell_words import quoted_words

_CANDIDATES = {
    ComposeVersion.AUTO: ("docker compose", "docker-compose"),
    ComposeVersion.V1: ("docker-compose",),
    ComposeVersion.V2: ("docker compose",),
}

_FIND = r"""
compose=
for candidate in {candidates}; do
  [ -z "$compose" ] || break
  # podman-compose may have the name of docker's; it does not know half of the calls.
  answer=$({asked} $candidate version 2>/dev/null </dev/null) || continue
  case $answer in *[Pp]odman*) ;; *) compose=$candidate ;; esac
done
""".strip()


def find_compose(version: ComposeVersion, *, asked: str = "") -> str:
    """Lines that set `compose` to the words of the command, or to nothing where there is none.

    `asked` are words to run docker with. A `docker-compose` that is version 2, as its makers offer
    it without the plugin, does as well.
    """
    return _FIND.format(candidates=quoted_words(_CANDIDATES[version]), asked=asked)


COMPOSE_FILE = r"""
compose_file() {
  for file in compose.yaml compose.yml docker-compose.yml docker-compose.yaml; do
    [ ! -f $file ] || return 0
  done
  grep -q '^[[:space:]]*COMPOSE_FILE=' .env 2>/dev/null && return
  echo 'there is no compose file in this folder' >&2
  return 1
}
""".strip()
"""Without the question, docker compose would take a file in a folder above, another project's."""


def encoded(path: str) -> str:
    """The path as one word of printable ASCII."""
    return quote(path, safe="/")


def decoded(word: str) -> str:
    """The path that `encoded` made the word of."""
    return unquote(word)


def compose_missing(version: ComposeVersion) -> str:
    """The message that docker compose is missing."""
    commands = " nor ".join(f"`{command}`" for command in _CANDIDATES[version])
    return f"{'neither ' if version is ComposeVersion.AUTO else 'no '}{commands} is there"
