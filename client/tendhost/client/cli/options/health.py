"""Options for hooks and health checks."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from tendhost.client import HealthCheck, HealthChecks, Hook, HttpProbe, TcpProbe
from tendhost.client.cli.formatting import duration
from tendhost.client.cli.session import refuse
from tendhost.client.given_files import FileUnusable, read_given

LARGEST_SCRIPT = 64 * 1024
"""Bytes of a script that the server accepts."""

PreHook = Annotated[
    str | None,
    typer.Option(
        "--pre-hook",
        metavar="FILE",
        help="Script to run on the host before an update changes it; if the script fails, nothing"
        " is changed. '' alone removes it.",
    ),
]
PostHook = Annotated[
    str | None,
    typer.Option(
        "--post-hook",
        metavar="FILE",
        help="Script to run on the host after an update changed it. '' alone removes it.",
    ),
]
HookTimeout = Annotated[
    str | None,
    typer.Option(
        "--hook-timeout",
        metavar="DURATION",
        help="Time limit of the given hooks. Default: 5m.",
    ),
]
HookCodes = Annotated[
    list[int] | None,
    typer.Option(
        "--hook-exit-code",
        min=0,
        max=255,
        metavar="CODE",
        help="Treat this exit status of the hooks as success. May be repeated. Default: 0.",
    ),
]
SecretHooks = Annotated[
    bool,
    typer.Option(
        "--secret-hooks",
        help="Show the scripts of the given hooks to nobody; they can be replaced, but not read.",
    ),
]
Checks = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="CHECK",
        help="Health check: tcp:PORT, http://HOST/… or https://HOST/… ({address} stands for the"
        " host's address), unit:NAME, or command:LINE. May be repeated. '' alone removes all.",
    ),
]
Settle = Annotated[
    str | None,
    typer.Option(
        "--settle",
        metavar="DURATION",
        help="Time for which all health checks must hold: 30s, 5m, or 0.",
    ),
]


def hook_of(
    path: str | None,
    option: str,
    timeout: str | None,
    codes: list[int] | None,
    *,
    secret: bool = False,
) -> Hook | Literal["none"] | None:
    """The hook whose script is in the file at `path`."""
    if path is None:
        return None
    if not path:
        return "none"
    try:
        script = read_given(Path(path), most=LARGEST_SCRIPT).data.decode("utf-8")
    except FileUnusable as error:
        refuse(f"{option}: {path} {error}")
    except UnicodeDecodeError as error:
        refuse(f"{option}: {path} is no text in UTF-8: {error}")
    limit = duration(timeout, "--hook-timeout") if timeout else timedelta(minutes=5)
    if not script:
        refuse(f"{option}: {path} is empty")
    return Hook(
        script=script, timeout=limit, allowed_exit_codes=tuple(codes or (0,)), secret=secret
    )


def require_hook(
    pre: str | None,
    post: str | None,
    timeout: str | None,
    codes: list[int] | None,
    *,
    secret: bool = False,
) -> None:
    """Refuse options of hooks if no hook is given."""
    if not pre and not post and (timeout is not None or codes or secret):
        options = "--hook-timeout, --hook-exit-code and --secret-hooks"
        refuse(f"{options} require --pre-hook or --post-hook")


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
            f"--check: invalid health check {text!r}; use tcp:PORT, http://HOST/…, https://HOST/…,"
            " unit:NAME or command:LINE"
        )
    return HealthCheck(command=rest)


def settle_of(text: str | None) -> timedelta | None:
    """The settling time that was typed."""
    return None if text is None else duration(text, "--settle")
