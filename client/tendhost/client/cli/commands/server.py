"""`tendhost info` and `version`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as version_of

import typer

from tendhost.client import (
    AuditSink,
    CertificateUse,
    Client,
    NotificationTarget,
    ServerCertificate,
)
from tendhost.client.cli.session import Session, print_line


def info(context: typer.Context) -> None:
    """Show the version, the event log and the health of the server."""
    session: Session = context.obj

    async def work(client: Client) -> None:
        from tendhost.client.cli.formatting import counted

        found = await client.info()
        if session.json:
            session.print_json(found)
        else:
            hosts = counted(found.host_count, "host")
            if found.store_problem:
                hosts = f"the database is unavailable: {found.store_problem}"
            print_line(f"tendhostd {found.version} at {session.server}: {hosts}")
            print_line(
                f"event log {found.log_id}, revisions {found.oldest_revision} to {found.revision}"
            )
            if found.open_access:
                print_line(
                    "no credential is needed: everyone who reaches the server may do everything"
                )
            if found.pruning_problem:
                print_line(found.pruning_problem)
            if found.event_loop_lag is not None:
                longest, p99 = (
                    f"{lag.total_seconds() * 1000:.0f} ms"
                    for lag in (found.event_loop_lag.max, found.event_loop_lag.p99)
                )
                print_line(
                    f"event loop delay in the last minute: at most {longest}, 99 % within {p99}"
                )
            for certificate in found.certificates:
                print_line(_certificate(certificate))
            for target in found.notifications:
                print_line(_target(target))
            for sink in found.audit_sinks:
                print_line(_sink(sink))

    session.run(work)


def _certificate(certificate: ServerCertificate) -> str:
    whose = {CertificateUse.CLIENT_CA: "CA of client certificates"}
    name = f"{whose.get(certificate.use, 'certificate')} {certificate.file}"
    if certificate.problem or certificate.expires_at is None:
        return f"{name}: {certificate.problem}"
    left = certificate.expires_at - datetime.now(UTC)
    when = f"expires in {left.days} days" if left > timedelta() else "HAS EXPIRED"
    return f"{name} {when} ({certificate.expires_at:%Y-%m-%d})"


def _target(target: NotificationTarget) -> str:
    left = {"undelivered": target.undelivered, "waiting": target.waiting}
    return _deliveries(f"notifications to {target.name}", "message", target, left)


def _sink(sink: AuditSink) -> str:
    left = {"missed": sink.missed, "waiting": sink.waiting}
    return _deliveries(f"audit sink {sink.name}", "record", sink, left)


def _deliveries(
    what: str, unit: str, found: NotificationTarget | AuditSink, left: Mapping[str, int]
) -> str:
    from tendhost.client.cli.formatting import ago, counted

    parts = [f"{counted(found.delivered, unit)} delivered"]
    parts.extend(f"{count} {word}" for word, count in left.items() if count)
    words = f"{what}: {', '.join(parts)}"
    return words + (f"; {found.problem} ({ago(found.problem_at)})" if found.problem else "")


def version(context: typer.Context) -> None:
    """Show the version of this command."""
    session: Session = context.obj
    if session.json:
        session.print_json({"version": version_of("tendhost")})
    else:
        print_line(f"tendhost {version_of('tendhost')}")
