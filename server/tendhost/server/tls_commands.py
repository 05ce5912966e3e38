"""`tendhostd tls …`: make certificates, and show them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from tendhost.server.certificates import (
    CA,
    SERVER,
    CertificateInfo,
    CertificateProblem,
    info_of,
    issue_client,
    issue_server,
    make_authority,
    read_authorities,
    read_pair,
    require_names,
)
from tendhost.server.clock import SystemClock
from tendhost.server.config import Settings
from tendhost.server.startup import TLS_FOLDER, tls_files


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsAnswer:
    """What a command prints, and its exit status."""

    text: str
    exit_status: int = 0


def _tls_init(settings: Settings, names: Sequence[str]) -> TlsAnswer:
    folder, now = settings.state_dir / TLS_FOLDER, SystemClock().now()
    names = names or _present_names(folder / SERVER)
    require_names(folder, names)
    if not (folder / CA).exists():
        make_authority(folder, now=now)
    issue_server(folder, names, now=now)
    until = f"{info_of(folder / SERVER).not_after:%Y-%m-%d}"
    return TlsAnswer(
        text=f"wrote {folder / SERVER} for {', '.join(names)}, which expires at {until}; clients need {folder / CA}:"
        f" tendhost login --server {names[0]}:PORT --ca {CA}"
    )


def _present_names(certificate: Path) -> Sequence[str]:
    """The names for a renewal that names none. Raises CertificateProblem."""
    if not certificate.exists():
        raise CertificateProblem(
            certificate, "there is none to renew; name the server: tendhostd tls init NAME"
        )
    names = info_of(certificate).names
    if not names:
        raise CertificateProblem(
            certificate, "it has no names; name the server: tendhostd tls init NAME"
        )
    return names


def _tls_client(settings: Settings, names: Sequence[str]) -> TlsAnswer:
    (name,) = names
    certificate, key = issue_client(settings.state_dir / TLS_FOLDER, name, now=SystemClock().now())
    return TlsAnswer(text=f"wrote {certificate} and {key} for {name}")


def _tls_show(settings: Settings, names: Sequence[str]) -> TlsAnswer:
    files = tls_files(settings)
    if files is None:
        raise CertificateProblem(
            settings.state_dir / TLS_FOLDER, "no certificate; make one: tendhostd tls init NAME"
        )
    now, lines, problems = SystemClock().now(), [], []
    for path in filter(None, (files.certificate, files.client_ca)):
        found = info_of(path)
        line, usable = _validity(found, now)
        lines.append(line)
        if not usable:
            problems.append(path)
    checks: list[Callable[[], object]] = [lambda: read_pair(files.certificate, files.key)]
    if files.client_ca is not None:
        checks.append(partial(read_authorities, files.client_ca))
    for check in checks:
        try:
            check()
        except CertificateProblem as error:
            lines.append(f"{error.path} CANNOT BE USED: {error.problem}")
            problems.append(error.path)
    return TlsAnswer(text="\n".join(lines), exit_status=1 if problems else 0)


def _validity(found: CertificateInfo, now: datetime) -> tuple[str, bool]:
    """The line about a certificate, and whether it is valid now."""
    when = f"expires in {(found.not_after - now).days} days"
    if found.not_after <= now:
        when = "HAS EXPIRED"
    elif now < found.not_before:
        when = f"IS NOT VALID BEFORE {found.not_before:%Y-%m-%d %H:%M} UTC"
    shown = ", ".join(found.names) or found.subject
    line = f"{found.path}: {shown}, from {found.issuer}, {when} ({found.not_after:%Y-%m-%d})"
    return line, found.not_before <= now < found.not_after


TLS_COMMANDS: Mapping[str, Callable[[Settings, Sequence[str]], TlsAnswer]] = {
    "init": _tls_init,
    "client": _tls_client,
    "show": _tls_show,
}
