r"""The shell script that updates compose projects on a host.

What each service ran before is passed in. One project after the other:

1. Its settings are found (project_settings.py), and it is kept in `record`, for a script that is begun again
   after it was cut off, what ran when this one began. Services that had stopped by then stay so.
2. `config` says whether the files are valid. If not, the project is left alone.
3. Pull, where asked for, with pauses where a registry asks for them. A pull that fails leaves the project as
   it was, moved tags included.
4. Where a reference names another image than the one that ran, or a container is gone: `up` of the services
   that ran, in the same number. Not where they would get other settings than they run with.
5. Wait until every service that ran runs again, steadily, and is healthy where it has a check. What was
   wrong before, or is no part of the change, is no fault of it: see `service_is`.
6. If it is not in time, each moved reference is made to name its former image once more; `up`, wait.

A project of which nothing ran is not brought up. `up` builds nothing, removes no container of a service
that the files no longer name, starts nothing that did not run, and pulls nothing where it can be told not to.
"""

SCRIPT = r"""
say() { printf 'compose1'; printf '\t%s' "$@"; printf '\n'; }
step() { say step "$name" "$1"; echo "$path: $2" >&2; }
now() { read -r now _ </proc/uptime; now=${now%%.*}; }
unknown() { printf '@unknown@' "$1" "$2"; }

# Runs a command of docker; `why` is what may be told of what it says, as one line.
try() {
  said=$("$@" 2>&1 </dev/null); rc=$?
  refs=$(printf '%s\n' "$services" | cut -d ' ' -f 3)
  why=$(printf '%s\n' "$said" | told | tr -s '\t\n\r' '   ' | cut -c 1-500); why=${why% }
  [ $rc = 0 ] || [ "$why" ] || case $1 in
    dc) shift; why=$(unknown "$compose $*" $rc) ;;
    *) why=$(unknown "$*" $rc) ;;
  esac
  [ $rc = 0 ] || printf '%s\n' "$path: $why" >&2
  return $rc
}

id_of() { docker image inspect --format '{{.ID}}' "$1" 2>/dev/null </dev/null || echo -; }

# A line for each container of the project, as @state@ has it.
list_containers() {
  if [ -n "$project" ]; then
    ids=$(docker ps -a -q --no-trunc --filter "label=com.docker.compose.project=$project" 2>/dev/null </dev/null)
  else
    ids=$(dc ps -a -q 2>/dev/null </dev/null)
  fi
  states=
  [ -z "$ids" ] || states=$(docker container inspect --format '@state@' $ids 2>/dev/null </dev/null)
}

# `how` a service is: up, starting, coming, or down for good; of several containers, the worst. `image` runs.
service_is() {
  how=; image=-; detail='has no container'
  was=$(printf '%s\n' "$ran" | awk -v service="$1" '$1 == service { print $3 }')
  while read -r its_name its_image status health policy code id patience _; do
    [ "$its_name" = "$1" ] || continue
    case $ran in *"$id"*) same=same ;; *) same=new ;; esac
    case $same:$was:$status:$health:$policy:$code in
      *:running:none:* | *:running:healthy:*) one=up ;;
      # It was not healthy before either.
      *:unhealthy:running:* | same:starting:running:*) one=up ;;
      # The update has not touched it: a person has paused it, or its task has ended well meanwhile.
      same:*:paused:*) one=up ;;
      same:*:exited:*:no.:0 | same:*:exited:*:.:0) one=up; [ -z "$resumed" ] || one=down ;;
      *:running:starting:*) one=starting ;;
      *:exited:*:no.:* | *:exited:*:.:* | *:dead:*) one=down ;;
      *) one=coming ;;
    esac
    [ "$status" != running ] || [ "$image" != - ] || image=$its_image
    case $how:$one in
      :* | up:* | starting:coming | starting:down | coming:down) how=$one; detail="is $status"
        [ "$health" = none ] || detail="$detail and $health" ;;
    esac
  done <<EOS
$states
EOS
  # No container at all is as likely a docker that is starting.
  [ -n "$how" ] || if [ -n "$ids" ]; then how=down; else how=coming; fi
}

# Whether each service that ran before runs; else `why` not, `hopeless` if it never will, and `only_starting`
# if docker has no verdict on the others yet, for which it may take `verdict` seconds.
all_up() {
  hopeless=; only_starting=1; good=1
  while read -r service kind reference before local; do
    [ "$before" != - ] || continue
    service_is "$service"
    [ "$how" != up ] || continue
    [ "$how" != down ] || hopeless=1
    [ "$how" = starting ] || only_starting=
    why="$service $detail"; good=
  done <<EOS
$services
EOS
  [ "$good" ]
}

# The longest time in which docker decides about a container that is starting: in a start period failures do
# not count, then it takes the number of retries (docker docs, HEALTHCHECK).
set_verdict() {
  verdict=$(printf '%s\n' "$states" | awk -v most="$verdict_limit" '
    $4 == "starting" {
      split($8, of, ":")
      interval = of[2] ? of[2] : 30e9; timeout = of[3] ? of[3] : 30e9; retries = of[4] ? of[4] : 3
      due = (of[1] + (retries + 1) * (interval + timeout)) / 1e9
      if (due > longest) longest = due
    }
    END { printf "%d", longest < most ? longest : most }')
}

await() {
  step "$1" "$2"
  now; began=$now; deadline=$((now + health_timeout)); steady=; undecided=; extended=; waited=$health_timeout
  while :; do
    list_containers; now
    if all_up; then
      # Docker has decided after the time limit: it must keep running from then on.
      [ -z "$extended" ] || { deadline=$((now + settle + 2)); extended=; }
      # A program that ends as soon as it has started is up now and then: what changes is not steady.
      [ "$states" = "$steady" ] || { steady=$states; since=$now; }
      [ $((now - since)) -lt "$settle" ] || return 0
      why="not every service keeps running"; only_starting=
    else
      steady=
      [ -z "$hopeless" ] || return 1
    fi
    if [ "$now" -ge "$deadline" ]; then
      [ "$only_starting" ] || { why="$why after $waited s"; return 1; }
      set_verdict; waited=$((now - began)) extended=1
      [ $waited -lt "$verdict" ] || { undecided="$why after $waited s"; return 0; }
    fi
    sleep 1
  done
}

# The services that ran, in the number that ran.
up() {
  [ -z "$unlike" ] || { why="$unlike: @unlike@"; return 1; }
  step "$1" "$2"
  set -- up -d --no-build $no_pull --no-deps
  while read -r service count _; do
    [ -n "$service" ] || continue
    [ "$count" = - ] || set -- "$@" --scale "$service=$count"
  done <<EOS
$ran
EOS
  try dc "$@" $(printf '%s\n' "$ran" | cut -d ' ' -f 1)
}

# Makes each reference name what it named before.
tags_back() {
  lost=
  while read -r service kind reference before local; do
    former=$before; [ "$former" != - ] || former=$local
    [ "$kind" = follow ] && [ "$former" != - ] && [ "$(id_of "$reference")" != "$former" ] || continue
    try docker image tag "$former" "$reference" || lost="$lost$why "
  done <<EOS
$services
EOS
  why=$lost
  [ -z "$lost" ]
}

# Whether a reference names another image than the one that ran.
differs() {
  other=
  while read -r service kind reference before local; do
    [ "$kind" = follow ] && [ "$before" != - ] && [ "$(id_of "$reference")" != "$before" ] && other=1
  done <<EOS
$services
EOS
  [ "$other" ]
}

# What became of the services that ran: any `changed` its image, any `gone`.
compare() {
  list_containers; changed=; gone=
  while read -r service kind reference before local; do
    [ "$before" != - ] || continue
    service_is "$service"
    case $image in
      "$before") ;;
      -) [ "$how" = up ] || gone=1 ;;
      *) changed=1 ;;
    esac
  done <<EOS
$services
EOS
}

prune_replaced() {
  while read -r service kind reference before local; do
    [ "$kind" = follow ] && [ "$before" != - ] && [ "$(id_of "$reference")" != "$before" ] || continue
    # A name that somebody gave it keeps it, as a container does.
    [ "$(docker image inspect --format '{{len .RepoTags}}' "$before" 2>/dev/null </dev/null)" = 0 ] || continue
    try docker image rm "$before" || :
  done <<EOS
$services
EOS
}

finish() {
  list_containers
  while read -r service kind reference before local; do
    [ -n "$service" ] || continue
    service_is "$service"
    say service "$name" "$service" "$reference" "$before" "$image"
  done <<EOS
$services
EOS
  [ -z "$record" ] || rm -f "$record"
  say result "$name" "$1" "$2"
  echo "$path: $1${2:+: $2}" >&2
  case $1 in unchanged | updated) exit 0 ;; *) exit 1 ;; esac
}

# Sets `ran` to a line for each service that runs: name, number of containers ("-": they are gone), health,
# ids; and `partial` to those of which some containers run. With an argument stopped ones count as running.
set_ran() {
  ran= partial=
  list_containers
  while read -r service kind reference before local; do
    [ "$before" != - ] || continue
    line=$(printf '%s\n' "$states" | awk -v service="$service" -v all="$1" '
      $1 == service {
        found++
        if (all || $3 == "running") { runs++; ids = ids " " $7 }
        if ($4 != "none" && (health == "" || health == "healthy")) health = $4
      }
      END {
        if (!found) print service " - none"
        else if (runs) print service " " found " " (health ? health : "none") ids
        exit found && runs && runs < found
      }') || partial="$partial $service"
    [ -z "$line" ] || ran="$ran$line
"
  done <<EOS
$services
EOS
  ran=${ran%?}
}

# The settings, and what ran when this script began for the first time: WHICH RUN, and `all` where services
# that have stopped are to run again, too. What the record does not hold, a run that is begun again forgets:
# why the project is to be left alone (`unlike`, `partial`), too.
begin() {
  project= flags= ran= record= resumed= partial= unlike=
  [ -n "$compose" ] || finish failed 'there is no docker compose'
  cd -- "$path" 2>/dev/null || finish failed 'this folder cannot be entered'
  key=$(printf '%s\n' "$1" "$path" "$services" | cksum | cut -d ' ' -f 1)
  if [ -s "$records/compose-$key" ]; then
    record=$records/compose-$key resumed=1
    { IFS= read -r project; IFS= read -r flags; IFS= read -r unlike; IFS= read -r partial; ran=$(cat); } <"$record"
  else
    settle || finish failed "$why"
    set_ran "$2"
    if [ -n "$ran" ] && [ -d "$records" ]; then
      record=$records/compose-$key
      printf '%s\n' "$project" "$flags" "$unlike" "$partial" "$ran" >"$record.new" &&
        { sync "$record.new" 2>/dev/null || :; } && mv "$record.new" "$record" ||
        finish failed "$record cannot be written"
    fi
  fi
  # What had stopped by then did so by itself, or a person stopped it.
  services=$(printf '%s\n' "$services" | RAN=$ran awk '
    BEGIN {
      number = split(ENVIRON["RAN"], lines, "\n")
      for (at = 1; at <= number; at++) { split(lines[at], of, " "); ran[of[1]] = 1 }
    }
    { if (!($1 in ran)) $4 = "-"; print }')
}

restore() {
  step rolled_back "putting the former images back: $because"
  tags_back || finish failed "$because; and the former images cannot be put back: $why"
  up rolled_back 'bringing the former images up' ||
    finish failed "$because; with the former images: $why"
  await rolled_back 'waiting for the former images' ||
    finish failed "$because; the former images are back, and $why"
}

undo() {
  because=$1
  compare
  differs || [ "$changed" ] || finish failed "$because"
  restore
  finish rolled_back "$because"
}

# The project is left as it is.
decline() {
  because=$1
  tags_back || because="$because; and what was pulled keeps its name: $why"
  finish failed "$because"
}

# Whether a registry has said that it cannot for now, or has not said all.
transient() {
  case $1 in
    *'429 Too Many'* | *'500 Internal'* | *'502 Bad'* | *'503 Service'* | *'504 Gateway'* | *timeout* | \
      *'connection reset'* | *'ended early'*) return 0 ;;
  esac
  return 1
}

# Pulls the images of these services, with pauses where a registry asks for them.
pull_services() {
  for pause in 0 $pull_pauses; do
    [ "$pause" = 0 ] || { echo "$path: $why; tried again in $pause s" >&2; sleep "$pause"; }
    within=$pull_limit; try dc pull -q "$@"; status=$?; within=
    [ $status != 0 ] || return 0
    [ $status != 124 ] || { why="no end after $pull_timeout s"; return 1; }
    transient "$why" || return 1
  done
  return 1
}

# Whether an image came from no registry under this name: it was built, loaded or tagged on the host.
of_this_host() {
  repository=$1
  case ${1##*/} in *:*) repository=${1%:*} ;; esac
  repository=${repository#docker.io/}
  digests=$(docker image inspect --format '{{range .RepoDigests}}{{.}} {{end}}' "$1" 2>/dev/null </dev/null) || return 1
  case " $digests" in *" ${repository#library/}@"*) return 1 ;; esac
}

pull() {
  built=" $(dc config 2>/dev/null </dev/null | awk '
    /^[^ ]/ { on = /^services:/ }
    on && /^  [^ ].*:$/ { service = $1; gsub(/[":\047]/, "", service) }
    on && /^    build:/ { printf "%s ", service }')"
  set --
  while read -r service kind reference before local; do
    [ "$kind" = follow ] && [ "$before" != - ] || continue
    case $built in *" $service "*) ! of_this_host "$reference" || continue ;; esac
    set -- "$@" "$service"
  done <<EOS
$services
EOS
  [ $# != 0 ] || return 0
  ! pull_services "$@" || return 0
  case $why in
    *'not in its registry'* | *'manifest unknown'* | *'asks for a login'* | *'denies access'*) ;;
    *) return 1 ;;
  esac
  # Which it is, is told of each alone: an image of this host is kept, and the others go on.
  first_why=$why absent=
  for service; do
    ! pull_services "$service" || continue
    transient "$why" && return 1
    reference=$(printf '%s\n' "$services" | awk -v service="$service" '$1 == service { print $3 }')
    case $built in *" $service "*) continue ;; esac
    of_this_host "$reference" || { first_why=$why absent=1; }
  done
  why=$first_why
  [ -z "$absent" ]
}

pull_failed() {
  outcome=failed
  ! transient "$why" || outcome=deferred
  because="the images cannot be pulled: $why"
  compare
  # Only an update that had pulled, and was cut off, can have changed a container: this is its rest.
  [ -z "$changed" ] || return 0
  [ -z "$gone" ] || restore
  tags_back || { because="$because; and what was pulled keeps its name: $why"; outcome=failed; }
  finish $outcome "$because"
}

# PATH NAME SERVICES
project() (
  path=$1 name=$2 services=$3
  begin update ''
  step check 'reading the compose file'
  try dc config -q || finish failed "$why"
  if [ "$pull" ]; then
    step pull 'pulling images'
    pull || pull_failed
  fi
  compare
  differs || [ "$gone" ] || finish unchanged ''
  [ -z "$unlike" ] || decline "$unlike: @unlike@"
  [ -z "$partial" ] || decline "only some containers of$partial are running: start or remove the stopped ones"
  up up 'bringing the project up' || undo "it cannot be brought up: $why"
  await wait 'waiting for its services' || undo "$why"
  differs || finish unchanged ''
  [ -z "$prune" ] || { step prune 'removing replaced images'; prune_replaced; }
  finish updated "$undecided"
)

# PATH NAME SERVICES
taken_back() (
  path=$1 name=$2 services=$3
  begin undo all
  because='the host was not healthy with the new ones'
  compare
  differs || [ "$changed$gone" ] || finish rolled_back "$because"
  restore
  finish rolled_back "$because"
)

# PATH NAME WHY
refuse() (
  path=$1 name=$2 services=
  say result "$name" failed "$3"
  echo "$path: failed: $3" >&2
  exit 1
)

# Beside the folders of the operation's jobs; by hand, where nothing of it outlives the host.
case $0 in */cmd) records=${0%/*/*} ;; *) records=/run ;; esac
pull_limit=; ! command -v timeout >/dev/null || pull_limit="timeout $pull_timeout"
# Whatever a project's pull_policy says, what is brought up is what was pulled or put back.
no_pull=
[ -z "$compose" ] || ! $compose up --help 2>/dev/null </dev/null | grep -q -e '--pull ' || no_pull='--pull never'
COMPOSE_REMOVE_ORPHANS=0; export COMPOSE_REMOVE_ORPHANS
may_tag=1
failed=0
""".strip()

# By the names of docker's own structures, as in listing.py.
STATE = (
    '{{if ne (index .Config.Labels "com.docker.compose.oneoff") "True"}}'
    '{{index .Config.Labels "com.docker.compose.service"}} {{.Image}} {{.State.Status}} '
    "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} "
    "{{.HostConfig.RestartPolicy.Name}}. {{.State.ExitCode}} {{.ID}} "
    '{{with .Config.Healthcheck}}{{printf "%d:%d:%d:%d" .StartPeriod .Interval .Timeout .Retries}}'
    "{{else}}-{{end}} {{.State.StartedAt}}{{end}}"
)
