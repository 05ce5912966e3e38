"""The shell scripts of the detached job, for any POSIX sh: dash, bash, and busybox's ash.

Each is sent behind assignments of `operation`, `job`, `epoch`, `log_from`, `status_from`, `most`, `log_head`,
`log_tail` and `status_tail`, and behind REPORT. The programs that they call are among those that docs/packages.md
names. With fallocate of util-linux the middle of a long output is taken off the disk.

No clock decides whether a job lives: a host without a battery boots with a date of long ago, and NTP sets it
forward later. The lock says whether a job runs, and times are those of /proc/uptime.
"""

from tendhost.server.remote.shell import PATH

REPORT = r"""
ops=/var/lib/tendhost/ops
home=$ops/$operation
umask 077
boot() { cat /proc/sys/kernel/random/boot_id; sed 's/.*) //' /proc/1/stat | cut -d ' ' -f 20; }
fail() { echo "$*" >&2; exit 1; }
recorded() { r=none; [ ! -f "$home/epoch" ] || read -r r <"$home/epoch"; echo "${r:-none}"; }
stale() { echo "tendhost-job stale $(recorded)"; exit 0; }
newer() { r=$(recorded); [ "$r" != none ] && [ "$r" -gt "$epoch" ]; }
part() {
  size=$(wc -c <"$1") || size=0
  at=$2
  # What lies between the wanted beginning and the wanted end is passed over, and may be gone from the disk.
  [ "$at" -lt "$3" ] || [ $((size - at)) -le "$4" ] || at=$((size - $4))
  left=$((size - at))
  [ "$left" -gt 0 ] || left=0
  [ "$left" -le "$most" ] || { left=$most; more=more; }
}
up() { read -r up up_rest </proc/uptime && echo "${up%%.*}"; }
# Whether the job runs although its folder was removed. The brackets keep the pattern from matching itself.
runs_without_folder() {
  [ -n "$(find /proc -maxdepth 2 -path '/proc/[0-9]*/cmdline' \
    -exec grep -lsE "$home/$job[/](run|cmd)" {} + 2>/dev/null)" ]
}
report() {
  if ! cd "$home/$job" 2>/dev/null; then
    runs_without_folder || { echo 'tendhost-job absent'; return; }
    echo "tendhost-job running - same $log_from 0 $status_from 0 all"
    return
  fi
  # The exit status first: whatever was printed before it stands in the log that is read after.
  state=prepared rc=- more=all here=same
  if [ -f rc ]; then
    state=ended
  elif [ -d claim ]; then
    state=running
    if flock -s -n lock true; then
      state=dead
      [ ! -f rc ] || state=ended
    fi
    [ ! -f boot ] || [ "$(cat boot)" = "$(boot)" ] || here=other
  fi
  if [ $state = ended ]; then
    read -r rc <rc
    case $rc in '' | *[!0-9]*) rc=255 ;; esac
  fi
  # As it was begun with: another server may want another part of what is gone by now.
  [ ! -f keep ] || read -r log_head log_tail <keep
  part log "$log_from" "$log_head" "$log_tail"; log_at=$at log_left=$left
  part status "$status_from" 0 "$status_tail"; status_at=$at status_left=$left
  echo "tendhost-job $state $rc $here $log_at $log_left $status_at $status_left $more"
  [ "$log_left" = 0 ] || tail -c "+$((log_at + 1))" log | head -c "$log_left"
  [ "$status_left" = 0 ] || tail -c "+$((status_at + 1))" status | head -c "$status_left"
}
"""

ATTACH = r"""
mkdir -p "$home" || exit 1
exec 8>>"$home/guard" && flock 8 || fail "$home/guard cannot be locked"
newer && stale
if [ ! -f "$home/epoch" ]; then
  printf '%-18s\n' "$epoch" >"$home/epoch.new" && mv "$home/epoch.new" "$home/epoch" || exit 1
elif [ "$(recorded)" != "$epoch" ]; then
  # In its place: a disk that is full by now has no room for another one.
  printf '%-18s\n' "$epoch" 1<>"$home/epoch" || exit 1
fi
exec 8>&-
# What no server came back for, left by operations that are long over: never this operation's own folder,
# and none with a job that runs, or that began in this boot if the host is not up for so long.
over() {
  for each in "$1"/*/; do
    [ -d "$each" ] || continue
    [ ! -e "$each/lock" ] || flock -s -n "$each/lock" true || return 1
    if [ -e "$each/boot" ] && [ "$(cat "$each/boot")" = "$(boot)" ]; then
      [ "$(up)" -ge 2592000 ] || return 1
    fi
  done
}
find "$ops" -mindepth 1 -maxdepth 1 -type d -mtime +30 ! -name "$operation" 2>/dev/null |
  while IFS= read -r left; do
    (
      exec 7>>"$left/guard" && flock -n 7 && over "$left" || exit 0
      # A wrapper that is on its way finds its claim taken, and nothing to run.
      for each in "$left"/*/; do
        mkdir "$each/claim"
        rm -f "$each/cmd"
      done
      rm -rf "$left"
    ) 2>/dev/null
  done
report
"""

START = r"""
{ [ -d "$home" ] && exec 8>>"$home/guard" && flock 8; } || stale
[ "$(recorded)" = "$epoch" ] || stale
if [ ! -d "$home/$job" ] && runs_without_folder; then
  report
  exit 0
fi
if [ ! -d "$home/$job" ]; then
  # Made whole under another name: a wrapper never sees half of it.
  new=$home/$job.new
  rm -rf "$new" && mkdir "$new" && cd "$new" && : >log && : >status && : >lock || exit 1
  printf '%s\n' "$command" >cmd && printf '%s\n' "$wrapper" >run || exit 1
  printf '%s %s\n' "$log_head" "$log_tail" >keep || exit 1
  if [ "$input_size" -gt 0 ]; then
    # What a link that broke has cut off is not begun with.
    cat >input && [ "$(wc -c <input)" -eq "$input_size" ] || fail "the job's input is not whole"
  fi
  # With its block on the disk already: the exit status must be kept where the disk is full, too.
  printf '%-7s\n' '' >rc.new && mv "$new" "$home/$job" || exit 1
fi
cd "$home/$job" || exit 1
if [ ! -d claim ]; then
  launched=
  if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1; then
    # Out of reach of what ends with the session. What a maintainer's script left running in the unit
    # is not ended with it: KillMode.
    systemd-run --quiet --collect --unit="tendhost-$operation-$job" --property=Type=exec \
      --property=KillMode=process --property="RuntimeMaxSec=$((limit + 120))" \
      /bin/sh "$PWD/run" "$PWD" "$limit" </dev/null >/dev/null 2>&1 8>&- && launched=yes
  fi
  # Also where systemd-run failed: should it have begun the job all the same, the claim is taken.
  if [ -z "$launched" ]; then
    setsid sh "$PWD/run" "$PWD" "$limit" </dev/null >/dev/null 2>&1 8>&- &
  fi
fi
exec 8>&-
report
"""

POLL = r"""
newer && stale
report
"""

CLEAN = r"""
[ -d "$home" ] || { echo 'tendhost-job absent'; exit 0; }
exec 8>>"$home/guard" && flock 8 || fail "$home/guard cannot be locked"
newer && stale
for each in "$home"/*/; do
  [ ! -d "$each/claim" ] || [ -f "$each/rc" ] || flock -s -n "$each/lock" true ||
    fail "$each still runs"
done
rm -rf "$home" || exit 1
rmdir "$ops" "${ops%/*}" 2>/dev/null
echo 'tendhost-job absent'
"""

WITHDRAW = r"""
[ -d "$home/$job" ] || { echo 'tendhost-job absent'; exit 0; }
exec 8>>"$home/guard" && flock 8 || fail "$home/guard cannot be locked"
newer && stale
# Who has the claim decides: a wrapper that is on its way finds it taken, and nothing to run. Where
# none can be made (a disk that is full), what it would run goes all the same.
if ! mkdir "$home/$job/claim" 2>/dev/null && [ -d "$home/$job/claim" ]; then
  exec 8>&-
  report
  exit 0
fi
# The folder of the operation goes with it, so that an order to start that comes late is refused.
rm -f "$home/$job/cmd" && rm -rf "$home" || exit 1
rmdir "$ops" "${ops%/*}" 2>/dev/null
echo 'tendhost-job absent'
"""

WRAPPER = r"""
# Runs ./cmd once, whoever asks how often. Arguments: this folder, and the seconds that it may take.
job=$1 limit=$2
cd "$job" || exit 1
exec 9>>lock
flock 9
mkdir claim || exit 0
{ cat /proc/sys/kernel/random/boot_id; sed 's/.*) //' /proc/1/stat | cut -d ' ' -f 20; } >boot
# On the disk before the command begins: after a power cut nobody must take it for one that never did.
sync claim . 2>/dev/null || sync
umask 022
@path@
HOME=${HOME:-/root}; export HOME
# What is neither of the beginning nor of the end of the output is taken off the disk in place, while the
# command runs and once at its end. The files keep their size and stay as they are for whoever writes to
# them: nothing waits, and there is no pipe that could break under a package manager. The lock is not held
# by this, so it says as before whether the command lives.
read -r head tail <keep || head=8388608 tail=8388608
punch() {
  size=$(wc -c <"$1") && length=$((size - 2 * $3 - $2)) || length=0
  [ "$length" -le 0 ] || fallocate -p -o "$2" -l "$length" "$1"
}
punch_all() { punch log $((head + 1048576)) "$tail"; punch status 0 262144; }
punching=
if command -v fallocate >/dev/null 2>&1; then
  (
    nap=
    trap 'kill $nap 2>/dev/null; exit 0' TERM
    while sleep 2 & nap=$!; wait $nap && [ -d claim ] && [ ! -f rc ] && ! flock -s -n lock true; do
      punch_all
    done
  ) 9>&- </dev/null >/dev/null 2>&1 &
  punching=$!
fi
up() { read -r up up_rest </proc/uptime && echo "${up%%.*}"; }
began=$(up) bounded=
! command -v timeout >/dev/null 2>&1 || bounded="timeout -k 60 $limit"
(cd / && exec $bounded sh "$job/cmd") </dev/null >>status 2>>log
rc=$?
# Each timeout(1) tells in its own way that it had to end the command.
[ "$rc" -lt 124 ] || [ $(($(up) - began)) -lt "$limit" ] || rc=124
if [ -n "$punching" ]; then
  kill "$punching" 2>/dev/null
  punch_all >/dev/null 2>&1
fi
printf '%-7s\n' "$rc" 1<>rc.new
sync rc.new 2>/dev/null || sync
mv rc.new rc
sync . 2>/dev/null
""".replace("@path@", PATH)
