"""Summaries of events."""

from collections.abc import Sequence

from tendhost.client import (
    CertificateExpiring,
    DuplicatesChanged,
    Event,
    FieldChange,
    HostAcknowledged,
    HostDisconnected,
    HostReconfigured,
    HostRegistered,
    HostUnregistered,
    OperationChanged,
    PolicyChanged,
    RolloutChanged,
    ScheduleChanged,
    SelectionChanged,
    StateChanged,
    StepRetried,
    UpdateCompleted,
    UpdateProgress,
)
from tendhost.client.cli.formatting import counted, duplicate_words
from tendhost.client.cli.session import clean


def progress_text(phase: str, package: str, percent: float) -> str:
    """How far a package manager is, in a few words."""
    return f"{phase} {package} {percent:.0f} %" if package else f"{phase} {percent:.0f} %"


def summary(event: Event) -> str:
    """What an event says, in a few words."""
    match event.body:
        case StateChanged(from_state=origin, to_state=to, cause=cause):
            words = f"{origin} → {to}  ({cause})"
        case UpdateProgress(package=package, percent=percent, phase=phase):
            words = progress_text(phase, package, percent)
        case OperationChanged(kind=kind, status=status, step=step, message=message):
            words = f"{kind} {status} {step} {message}"
        case StepRetried(step=step, attempt=attempt, pause=pause, problem=problem):
            words = f"{step}, attempt {attempt}: {problem.message}"
            words += f"; next attempt in {pause.total_seconds():.0f} s"
        case RolloutChanged(
            status=status, progress=progress, wave=wave, wave_count=waves, message=said
        ):
            failed = progress.failed + progress.rolled_back
            ended = progress.completed + failed + progress.skipped
            words = f"{event.rollout_id} {status}: wave {wave} of {waves},"
            words += f" {ended} of {progress.total_hosts} hosts ended, {failed} failed"
            words += f"; {said}" if said else ""
        case ScheduleChanged() | SelectionChanged() | PolicyChanged():
            words = _settings(event.body, event.rollout_id)
        case UpdateCompleted(result=result):
            words = f"{counted(len(result.packages), 'package')} changed"
        case HostReconfigured(fields=fields, by=by, changes=changes):
            words = changed_words(changes) or ", ".join(fields)
            words += f" by {by}" if by else ""
        case HostRegistered(by=by) | HostUnregistered(by=by) | HostAcknowledged(by=by):
            words = f"by {by}" if by else ""
        case DuplicatesChanged(duplicate_of=duplicates):
            words = "; ".join(map(duplicate_words, duplicates)) or "no duplicates"
        case HostDisconnected(reason=said) | CertificateExpiring(message=said):
            words = said
        case _:
            words = ""
    return clean(words)


def _settings(body: ScheduleChanged | SelectionChanged | PolicyChanged, rollout: str) -> str:
    """What became of something that users keep for more than one host."""
    match body:
        case ScheduleChanged(schedule=name, change=change, message=said, changes=changes):
            parts = (f"{name} {change}", changed_words(changes), rollout, said)
            return ", ".join(part for part in parts if part)
        case SelectionChanged(selection=name, change=change, message=said, changes=changes):
            return " ".join(filter(None, (f"{name} {change}", changed_words(changes), said)))
        case PolicyChanged(group=group, by=by, deleted=deleted, changes=changes):
            whose = f"group {group}" if group else "fleet"
            what = " deleted" if deleted else f" {changed_words(changes)}" if changes else ""
            return f"{whose}{what} by {by}"


def changed_words(changes: Sequence[FieldChange]) -> str:
    """Which fields changed, and how."""
    return "; ".join(
        one.path if one.new is None else f"{one.path}: {one.old or 'none'} → {one.new or 'none'}"
        for one in changes
    )
