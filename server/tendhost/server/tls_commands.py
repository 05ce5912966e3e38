"""`tendhostd tls …`: make certificates, and show them."""

from collections.abc import Callable, Mapping, Sequence

from tendhost.server.certificates import (
    CA,
    SERVER,
    CertificateProblem,
    info_of,
    issue_client,
    issue_server,
    make_authority,
)
from tendhost.server.clock import SystemClock
from tendhost.server.config import Settings
from tendhost.server.startup import TLS_FOLDER, tls_files


def _tls_init(settings: Settings, names: Sequence[str]) -> str:
    folder, now = settings.state_dir / TLS_FOLDER, SystemClock().now()
    if not (folder / CA).exists():
        make_authority(folder, now=now)
    issue_server(folder, names, now=now)
    return (
        f"wrote {folder / SERVER} for {', '.join(names)}; clients need {folder / CA}:"
        f" tendhost login --server {names[0]}:PORT --ca {CA}"
    )


def _tls_client(settings: Settings, names: Sequence[str]) -> str:
    (name,) = names
    certificate, key = issue_client(settings.state_dir / TLS_FOLDER, name, now=SystemClock().now())
    return f"wrote {certificate} and {key} for {name}"


def _tls_show(settings: Settings, names: Sequence[str]) -> str:
    files = tls_files(settings)
    if files is None:
        raise CertificateProblem(
            settings.state_dir / TLS_FOLDER, "no certificate; make one: tendhostd tls init NAME"
        )
    now, lines = SystemClock().now(), []
    for path in filter(None, (files.certificate, files.client_ca)):
        found = info_of(path)
        left = (found.not_after - now).days
        when = f"expires in {left} days" if left >= 0 else "HAS EXPIRED"
        names_shown = ", ".join(found.names) or found.subject
        lines.append(
            f"{path}: {names_shown}, from {found.issuer}, {when} ({found.not_after:%Y-%m-%d})"
        )
    return "\n".join(lines)


TLS_COMMANDS: Mapping[str, Callable[[Settings, Sequence[str]], str]] = {
    "init": _tls_init,
    "client": _tls_client,
    "show": _tls_show,
}
