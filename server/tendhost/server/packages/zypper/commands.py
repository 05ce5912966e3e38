"""Commands that change the packages of a SUSE host, by zypper(8) and rpm(8).

Signatures are checked as the host is configured, and no question is answered otherwise than
--non-interactive does: an unknown key is not imported, a license is not agreed to, and a problem with
dependencies is not solved by a guess.
"""

from tendhost.server.domain.inventory.inventory import PackageChange
from tendhost.server.domain.shell_words import quoted_words
from tendhost.server.packages.kernels import belongs_to_kernel
from tendhost.server.packages.package_manager import Transaction
from tendhost.server.packages.rpm.database import RPM
from tendhost.server.packages.rpm.locks import retry_while_locked
from tendhost.server.packages.zypper.failures import LOCKED, RESTARTED

SEVERAL = r"""
several() { rpm -q --whatprovides 'multiversion(kernel)' --qf '%{NAME}\n' | sort -u; }
""".strip()
"""The shell function `several` lists the packages of which several versions may be there."""

# Tumbleweed, Slowroll and what is like them are moved from one snapshot to the next by dist-upgrade only. A locked
# package has "vl" in the first column.
WHOLE_UPDATE = r"""
whole_update() {
  if grep -Eqs '^ID(_LIKE)?=.*opensuse-(tumbleweed|slowroll)' /etc/os-release; then echo dist-upgrade "$@"; return; fi
  echo update "$@" --
  env LC_ALL=C zypper --non-interactive --no-refresh list-updates --all 2>/dev/null |
    awk -F'|' '{ gsub(/\033\[[0-9;]*m/, "") } $1 ~ /^v *$/ && NF == 6 { print $3 }'
}
""".strip()
"""The shell function `whole_update` prints the command that may also remove packages, its options, and
what it is to upgrade."""

# Root's zypper ends with 7 (failures.LOCKED) while another one runs, even where it only lists.
FUNCTIONS = (
    SEVERAL
    + "\n"
    + WHOLE_UPDATE
    + r"""
as_zypper() { as_root_or_user zypper --non-interactive "$@" </dev/null; }
list_zypper() { as_zypper --xmlout --no-refresh "$@"; }
patient_list() {
  left=$1; shift
  while words=$(list_zypper "$@"); rc=$?; [ $rc = 7 ] && [ "$left" -gt 0 ]; do
    sleep 1; left=$((left - 1))
  done
  printf '%s' "$words"
  return $rc
}
zypp_lock() {
  pid=$(cat /run/zypp.pid 2>/dev/null)
  case $pid in
    '' | *[!0-9]*) ;;
    *) [ ! -e "/proc/$pid/comm" ] || { echo "/run/zypp.pid $pid $(cat "/proc/$pid/comm")"; return; } ;;
  esac
  rpm_lock
}
patch_names() {
  printf '%s\n' "$1" | tr '<' '\n' |
    sed -n '/^update .*kind="patch"/s/.* name="\([A-Za-z0-9][A-Za-z0-9._:+-]*\)".*/\1/p' | sort -u
}
new_names() {
  printf '%s\n' "$1" | tr '<' '\n' | sed -n '/^to-install>/,/^\/to-install>/p' |
    sed -n '/^solvable .*type="package"/s/.* name="\([A-Za-z0-9][A-Za-z0-9._+-]*\)".*/\1/p' | sort -u
}
"""
).strip()
"""Shell functions after those of facts.FACTS, rpm.database.RPM and rpm.locks.WAIT."""

UNNEEDED = "--no-refresh packages --unneeded"
ZYPPER = "env LC_ALL=C zypper --non-interactive --no-refresh"


def upgrade_words(transaction: Transaction, *, dry_run: bool = False) -> str:
    """The command and the options of zypper that perform the transaction, as words for sh.

    Without removals allowed, zypper ends with an error where it would have to ask for one. With them
    it takes what it would else keep back only where it is named, so `whole_update` names everything.
    """
    options = ["--dry-run"] if dry_run else []
    if transaction.download_only:
        options.append("--download-only")
    if transaction.allow_removals:
        options.append("--force-resolution")
    if transaction.packages is None:
        chosen = quoted_words(options)
        return f"$(whole_update {chosen})" if transaction.allow_removals else f"update {chosen}"
    named = transaction.named
    words = [f"{p.name}={p.to_version}" if transaction.exact else p.name for p in named]
    # `update` leaves alone what is not installed, even where it takes the place of what is.
    verb = "update" if all(package.from_version for package in named) else "install"
    return quoted_words((verb, *options, "--", *words))


_UPGRADE = r"""
{{
{functions}
upgrade() {{ {upgrade}; }}
unneeded() {{ {zypper} remove --no-clean-deps -- {unneeded}; }}
{patiently}
[ $rc != {restarted} ] || {{ upgrade; rc=$?; }}
case $rc in 0 | 102) {then} ;; esac
exit $rc
}} 1>&2 </dev/null
""".strip()


def upgrade_command(transaction: Transaction, *, seconds: int) -> str:
    """Upgrade, and do so once more where what was upgraded first is the package manager itself.

    Where another user of zypp holds its lock, it is waited for up to `seconds`.
    """
    unneeded = transaction.unneeded and not transaction.download_only
    return _UPGRADE.format(
        functions=WHOLE_UPDATE,
        upgrade=f"{ZYPPER} {upgrade_words(transaction)}" if transaction.upgrades else ":",
        zypper=ZYPPER,
        patiently=retry_while_locked("upgrade", locked=LOCKED, seconds=seconds),
        restarted=RESTARTED,
        unneeded=quoted_words(transaction.unneeded),
        then="unneeded || rc=$?" if unneeded else ":",
    )


# rpm recovers its database by itself, but for the Berkeley DB of SUSE Linux Enterprise 12. Of a package
# that is there twice rpm began to install the new version and did not come to erase the old one.
_REPAIR = r"""
{{
{rpm}
{several}
[ ! -e "$(rpm --eval '%_dbpath')/__db.001" ] || rpm --rebuilddb || exit
several=$(several)
set -- $(rpm -qa --qf '%{{NAME}}.%{{ARCH}}
' | sort | uniq -d |
  while read -r name; do
    case "
$several
" in *"
${{name%.*}}
"*) ;; *) echo "$name" ;; esac
  done)
[ $# = 0 ] || {zypper} install --force -- "$@"
}} 1>&2 </dev/null
""".strip()


def repair_command() -> str:
    """Reinstall what an interrupted transaction left in two versions; its scriptlets run again."""
    return _REPAIR.format(rpm=RPM, several=SEVERAL, zypper=ZYPPER)


def restore_command(changes: tuple[PackageChange, ...], *, seconds: int) -> str:
    """Put the former versions back, from the repositories, all of them or none, in one transaction.

    A kernel that was installed beside the others stays, for it may be the one that runs. Another user
    of zypp's lock is waited for up to `seconds`.
    """
    ours = [change for change in changes if not belongs_to_kernel(change.name)]
    wanted = [f"{change.name}={change.from_version}" for change in ours if change.from_version]
    unwanted = [f"!{change.name}" for change in ours if not change.from_version]
    if not wanted and not unwanted:
        return ":"
    words = quoted_words(("install", "--oldpackage", "--", *wanted, *unwanted))
    restore = retry_while_locked(f"{ZYPPER} {words}", locked=LOCKED, seconds=seconds)
    return f"{{\n{restore}\nexit $rc\n}} 1>&2 </dev/null"
