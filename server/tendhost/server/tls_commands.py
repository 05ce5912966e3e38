"""`tendhostd tls …`: make certificates, and show them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tendhost.server.certificates import (
    CA,
    SERVER,
    CertificateProblem,
    expiry_of,
    info_of,
    issue_client,
    issue_server,
    make_authority,
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
    until = f"{expiry_of(folder / SERVER):%Y-%m-%d}"
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
    now, lines, expired = SystemClock().now(), [], False
    for path in filter(None, (files.certificate, files.client_ca)):
        found, expires_at = info_of(path), expiry_of(path)
        over = expires_at <= now
        expired = expired or over
        when = "HAS EXPIRED" if over else f"expires in {(expires_at - now).days} days"
        names_shown = ", ".join(found.names) or found.subject
        lines.append(f"{path}: {names_shown}, from {found.issuer}, {when} ({expires_at:%Y-%m-%d})")
    return TlsAnswer(text="\n".join(lines), exit_status=1 if expired else 0)


TLS_COMMANDS: Mapping[str, Callable[[Settings, Sequence[str]], TlsAnswer]] = {
    "init": _tls_init,
    "client": _tls_client,
    "show": _tls_show,
}
