"""Snapshots of the root file system before a change, by snapper, btrfs, zfs or LVM.

One provider a host, the first of these that can: snapper(8) with a configuration `root`, btrfs(8),
zfs(8), and LVM (lvmthin(7)) where the root is on a thin volume. A snapshot is named after the operation, so that
one that is made once more is found, and of its own kind only the newest three are kept. Putting one
back takes a boot from it, which is left to a person.
"""

from dataclasses import dataclass

from tendhost.server.domain.operations.permission import ChangeKind, ChangingCommand
from tendhost.server.domain.shell_words import quoted
from tendhost.server.packages.bounding import parser
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.facts import FACTS
from tendhost.server.packages.script import framed_script, parse_parts

KEPT = 3
"""So many snapshots of tendhost's own stay on a host, the newest. Snapper has limits of its own."""

_SNAPSHOT = r"""
ours() { grep -E '^tendhost-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'; }
older() { sort | head -n -$kept; }
by_snapper() {
  number=$(as_root snapper -c root --csvout list --columns number,description |
    sed -n "s/^\([0-9]*\),$name\$/\1/p" | head -n 1)
  [ "$number" ] || number=$(as_root snapper -c root create --type single --print-number \
    --cleanup-algorithm number --description "$name") || return
  echo "snapper $number"
}
by_btrfs() {
  folder=/.tendhost-snapshots
  as_root test -d "$folder/$name" || {
    as_root mkdir -p -m 700 $folder &&
      as_root btrfs subvolume snapshot -r / "$folder/$name" >/dev/null
  } || return
  for old in $(as_root ls $folder | ours | older); do
    as_root btrfs subvolume delete "$folder/$old" >/dev/null || :
  done
  echo "btrfs $folder/$name"
}
by_zfs() {
  zfs list -t snapshot "$1@$name" >/dev/null 2>&1 || as_root zfs snapshot "$1@$name" || return
  for old in $(zfs list -H -o name -t snapshot -d 1 "$1" | grep -E '@tendhost-[0-9a-f-]{36}$' | older); do
    as_root zfs destroy "$old" || :
  done
  echo "zfs $1@$name"
}
by_lvm() {
  as_root lvs "$1/$name" >/dev/null 2>&1 ||
    as_root lvcreate --quiet --snapshot --name "$name" "$1/$2" >/dev/null || return
  # Only snapshots of this very volume, and only those that are named after an operation.
  for old in $(as_root lvs --noheadings -o lv_name -S "origin=$2" "$1" | tr -d ' ' | ours | older); do
    as_root lvremove --quiet --yes "$1/$old" >/dev/null || :
  done
  echo "lvm $1/$name"
}
make_snapshot() {
  name=$1 kept=$2
  if command -v snapper >/dev/null && as_root snapper -c root get-config >/dev/null 2>&1; then
    by_snapper; return
  fi
  set -- $(findmnt -n -o FSTYPE,SOURCE /)
  case $1 in
    btrfs) command -v btrfs >/dev/null && { by_btrfs; return; } ;;
    zfs) command -v zfs >/dev/null && { by_zfs "$2"; return; } ;;
  esac
  root=$2
  if command -v lvs >/dev/null; then
    set -- $(as_root lvs --noheadings -o vg_name,lv_name,pool_lv "$root" 2>/dev/null)
    [ "$#" = 3 ] && { by_lvm "$1" "$2"; return; }
  fi
  echo "none of snapper, btrfs, zfs and thin LVM is there for ${root:-the root file system}" >&2
  return 3
}
""".strip()
_NONE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotResult:
    """What came of it."""

    snapshot: str
    """Its tool and its name there: "btrfs /.tendhost-snapshots/tendhost-…"; empty: there is none."""
    offered: bool
    """Whether the host has anything to make one with."""
    problem: str
    """Why there is none."""


def snapshot_command(operation: str) -> ChangingCommand:
    """The command that makes the snapshot of an operation, or finds it made."""
    name = quoted(f"tendhost-{operation.lower()}")
    script = framed_script(FACTS, _SNAPSHOT, f"part snapshot make_snapshot {name} {KEPT}")
    return ChangingCommand(kind=ChangeKind.SNAPSHOT, change_script=script)


@parser
def parse_snapshot(output: bytes) -> SnapshotResult:
    """Understand the output of `snapshot_command`. Raises ParseFailed."""
    part = parse_parts(output, expected=("snapshot",))["snapshot"]
    if part.status != 0:
        problem = part.message or f"it ended with {part.status}"
        return SnapshotResult(snapshot="", offered=part.status != _NONE, problem=problem)
    tool, _, name = part.stdout.strip().partition(" ")
    if tool not in ("snapper", "btrfs", "zfs", "lvm") or not name:
        raise ParseFailed(part="snapshot", line=part.stdout)
    return SnapshotResult(snapshot=f"{tool} {name}", offered=True, problem="")
