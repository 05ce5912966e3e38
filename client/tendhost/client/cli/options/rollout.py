"""Options for the specification of a rollout, the same for rollouts and schedules."""

import re
from typing import Annotated

import typer

from tendhost.client import (
    DisruptionBudget,
    HostFilter,
    HostOrder,
    HostState,
    RolloutDependency,
    RolloutSpec,
    RolloutStage,
)
from tendhost.client.cli.formatting import duration
from tendhost.client.cli.options.choices import chosen
from tendhost.client.cli.options.option_group import option_group
from tendhost.client.cli.options.scope import (
    Autoremove,
    DownloadFirst,
    Only,
    Removals,
    Security,
    Without,
    override_of,
)
from tendhost.client.cli.options.selection import (
    AnyHostTags,
    ExcludedHosts,
    HostGroups,
    HostNames,
    HostStates,
    HostTags,
    Saved,
)
from tendhost.client.cli.session import refuse

_ORDERS = {"name": HostOrder.NAME, "random": HostOrder.RANDOM, "last-update": HostOrder.LAST_UPDATE}
_SIZE = r"(?:\d+%?|rest)"
_STAGE = re.compile(rf"(?P<tag>.+):(?P<sizes>{_SIZE}(?:, ?{_SIZE})*)", re.ASCII)
_BEFORE = " before "
_IF_OK = re.compile(r"(?:,\s*|\s+)if ok\s*$")
_PER = " per "


def spec_of(
    host: HostNames = None,
    tag: HostTags = None,
    any_tag: AnyHostTags = None,
    group: HostGroups = None,
    exclude: ExcludedHosts = None,
    state: HostStates = None,
    saved: Saved = "",
    waves: Annotated[
        str,
        typer.Option(
            metavar="SIZES",
            help="Sizes of the waves: numbers, percentages and 'rest', as in 1,5,20%,rest. The last"
            " one repeats.",
        ),
    ] = "2",
    stage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TAG[:SIZES]",
            help="Update hosts with this tag before those of the next stage, in waves of their own."
            " May be repeated.",
        ),
    ] = None,
    dependency: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'TAG before TAG[, if ok]'",
            help="Update hosts with the first tag before hosts with the second; with 'if ok', only if"
            " all of the first succeed. May be repeated.",
        ),
    ] = None,
    order: Annotated[
        str, typer.Option(metavar="ORDER", help="Order of the hosts: name, random or last-update.")
    ] = "name",
    seed: Annotated[
        int,
        typer.Option(
            min=0, metavar="NUMBER", help="Repeat the order of an earlier --order random."
        ),
    ] = 0,
    delay: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Pause after each wave: 30s, 5m, 1h30m or 0."),
    ] = "30s",
    settle: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Time for which the hosts of a wave must stay healthy after the pause.",
        ),
    ] = "",
    require_rebooted: Annotated[
        bool,
        typer.Option(
            "--require-rebooted",
            help="Halt after a wave, except the last, whose hosts still need a reboot, or may need one.",
        ),
    ] = False,
    max_failures: Annotated[
        str,
        typer.Option(metavar="NUMBER|PERCENT%", help="Halt when more hosts than this have failed."),
    ] = "",
    max_unavailable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'LIMIT [per KEY]'",
            help="Limit of unavailable hosts, in the fleet or for each value of the tags KEY=VALUE:"
            " '10%' or '1 per zone'. May be repeated.",
        ),
    ] = None,
    ignore_earlier_failures: Annotated[
        bool,
        typer.Option(
            "--ignore-earlier-failures",
            help="Do not count hosts for --max-unavailable that had failed before the start.",
        ),
    ] = False,
    approve_waves: Annotated[
        bool,
        typer.Option(
            "--approve-waves", help="Wait for an approval before each wave but the first."
        ),
    ] = False,
    approver: Annotated[
        list[str] | None,
        typer.Option(
            metavar="USER",
            help="Accept approvals only from this user. Implies --approve-waves. May be repeated.",
        ),
    ] = None,
    approval_timeout: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="Halt without an approval after this time. Default: 1 day."
        ),
    ] = "",
    expires: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="Skip hosts that have not started after this time: 8h or 14d."
        ),
    ] = "",
    outside_windows: Annotated[
        str,
        typer.Option(
            metavar="REASON",
            help="Ignore maintenance windows and freezes; operations record the reason.",
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what the updates would change, and change nothing."),
    ] = False,
    security: Security = None,
    package: Only = None,
    exclude_package: Without = None,
    allow_removals: Removals = None,
    autoremove: Autoremove = None,
    download_first: DownloadFirst = None,
) -> RolloutSpec:
    """What the options ask for. Those that cannot be understood are refused as they were typed."""
    if order not in _ORDERS:
        refuse(f"--order: invalid order {order!r}; use {', '.join(_ORDERS)}")
    return RolloutSpec(
        filter=HostFilter(
            names=tuple(host or ()),
            all_tags=tuple(tag or ()),
            any_tags=tuple(any_tag or ()),
            groups=tuple(group or ()),
            states=chosen(HostState, state or (), "--state"),
            exclude_hosts=tuple(exclude or ()),
            selection=saved,
        ),
        waves=_sizes(waves),
        stages=tuple(_stage(text) for text in stage or ()),
        dependencies=tuple(_dependency(text) for text in dependency or ()),
        order=_ORDERS[order],
        seed=seed,
        delay_between_waves=duration(delay, "--delay"),
        settle=duration(settle, "--settle") if settle else None,
        require_rebooted=require_rebooted,
        max_failures=max_failures,
        max_unavailable=tuple(_budget(text) for text in max_unavailable or ()),
        ignore_earlier_failures=ignore_earlier_failures,
        approve_waves=approve_waves or bool(approver),
        approvers=tuple(approver or ()),
        approval_timeout=(
            duration(approval_timeout, "--approval-timeout") if approval_timeout else None
        ),
        expires_after=duration(expires, "--expires") if expires else None,
        window_override_reason=outside_windows,
        dry_run=dry_run,
        scope=override_of(
            security, package, exclude_package, allow_removals, autoremove, download_first
        ),
    )


with_spec = option_group(spec_of, "spec")
"""Gives a command the options of `spec_of`, and what they ask for as its `spec`."""


def _sizes(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _stage(text: str) -> RolloutStage:
    # Tags may have colons in them, and sizes are never mistaken for a part of one.
    match = _STAGE.fullmatch(text)
    if match is None:
        return RolloutStage(tag=text)
    return RolloutStage(tag=match["tag"], waves=_sizes(match["sizes"]))


def _dependency(text: str) -> RolloutDependency:
    tags = _IF_OK.sub("", text)
    before, word, after = tags.partition(_BEFORE)
    if not word or not before.strip() or not after.strip():
        refuse(
            f"--dependency: invalid dependency {text!r}; use two tags as in 'db before app' or"
            " 'db before app, if ok'"
        )
    return RolloutDependency(
        before=before.strip(), after=after.strip(), only_if_succeeded=tags != text
    )


def _budget(text: str) -> DisruptionBudget:
    limit, _, key = text.partition(_PER)
    return DisruptionBudget(limit=limit.strip(), per_tag=key.strip())
