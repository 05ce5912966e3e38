"""Options for hooks and health checks."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from tendhost.client import HealthCheck, HealthChecks, Hook, HttpProbe, TcpProbe
from tendhost.client.cli.formatting import duration
from tendhost.client.cli.session import refuse

PreHook = Annotated[
    str | None,
    typer.Option(
        "--pre-hook",
        metavar="FILE",
        help="A script that runs on it before an update changes it; where it fails, nothing is"
        " changed. '' alone: none.",
    ),
]
PostHook = Annotated[
    str | None,
    typer.Option(
        "--post-hook", metavar="FILE", help="A script that runs on it after that. '' alone: none."
    ),
]
HookTimeout = Annotated[
    str | None,
    typer.Option(
        "--hook-timeout", metavar="DURATION", help="How long the given hooks may take. Else: 5m."
    ),
]
HookCodes = Annotated[
    list[int] | None,
    typer.Option(
        "--hook-exit-code",
        min=0,
        max=255,
        metavar="CODE",
        help="An exit status of the given hooks that is no failure. May be repeated. Else: 0.",
    ),
]
Checks = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="CHECK",
        help="What it has to pass to count as healthy: tcp:PORT, http://HOST/… or https://HOST/…"
        " ({address} in place of HOST: its own), unit:NAME, command:LINE. May be repeated. ''"
        " alone: nothing of its own.",
    ),
]
Settle = Annotated[
    str | None,
    typer.Option(
        "--settle", metavar="DURATION", help="How long all of that has to hold: 30s, 5m, or 0."
    ),
]


def hook_of(
    path: str | None, option: str, timeout: str | None, codes: list[int] | None
) -> Hook | Literal["none"] | None:
    """The hook whose script stands in the file at `path`."""
    if path is None:
        return None
    if not path:
        return "none"
    try:
        script = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"{option}: {path} cannot be read: {error}")
    limit = duration(timeout, "--hook-timeout") if timeout else timedelta(minutes=5)
    return Hook(script=script, timeout=limit, allowed_exit_codes=tuple(codes or (0,)))


def require_hook(
    pre: str | None, post: str | None, timeout: str | None, codes: list[int] | None
) -> None:
    """Refuse what is said of hooks where none is given."""
    if not pre and not post and (timeout is not None or codes):
        refuse("--hook-timeout and --hook-exit-code go with --pre-hook or --post-hook only")


def checks_of(given: list[str] | None) -> HealthChecks | None:
    """The checks that were typed; None where none was."""
    if given is None:
        return None
    return HealthChecks(checks=tuple(_check(text) for text in given if text))


def _check(text: str) -> HealthCheck:
    kind, _, rest = text.partition(":")
    if kind in ("http", "https"):
        return HealthCheck(http=HttpProbe(url=text))
    if kind == "tcp" and rest.isdecimal():
        return HealthCheck(tcp=TcpProbe(port=int(rest)))
    if kind == "unit" and rest:
        return HealthCheck(units=tuple(rest.split(",")))
    if kind != "command" or not rest.strip():
        refuse(
            f"--check: {text!r} is no check; expected tcp:PORT, http://HOST/…, https://HOST/…,"
            " unit:NAME or command:LINE"
        )
    return HealthCheck(command=rest)


def settle_of(text: str | None) -> timedelta | None:
    """The settling time that was typed."""
    return None if text is None else duration(text, "--settle")
