"""Audit records, formatted for people."""

from collections.abc import Sequence

from tendhost.client import AuditRecord
from tendhost.client.cli.console import draw, say, table


def records(found: Sequence[AuditRecord]) -> None:
    """Audit records, as they come."""
    if not found:
        say("no audit records")
        return
    rows = (
        (
            f"{record.at:%Y-%m-%d %H:%M:%S}" if record.at else "",
            record.principal or "(several)",
            _credential(record),
            record.method.rpartition("/")[2],
            record.subject,
            _result(record),
        )
        for record in found
    )
    draw(table(("TIME (UTC)", "PRINCIPAL", "CREDENTIAL", "METHOD", "SUBJECT", "RESULT"), rows))


def _result(record: AuditRecord) -> str:
    if record.result == "MISSED":
        return f"{record.omitted} records missed"
    return f"{record.omitted} more refused" if record.omitted else record.result


def _credential(record: AuditRecord) -> str:
    kind = record.credential_kind or ""
    shown = f"{kind} {record.credential_id}".strip()
    return f"{shown} ({record.address})" if record.address else shown
