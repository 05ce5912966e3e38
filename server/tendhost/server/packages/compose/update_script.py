r"""The shell script that updates compose projects on a host.

What each service ran before is passed in, and the script goes by that alone: begun again after it was
cut off anywhere, it finds what is still to be done. One project after the other:

1. `config` says whether the files are valid. If not, the project is left alone.
2. Pull, where asked for. A pull that fails leaves the project as it was, moved tags included.
3. Where a reference names another image than the one that ran, or a service that ran does not: `up`.
4. Wait until every service that ran before runs again, steadily, and is healthy where it has a check.
5. If it is not in time, each moved reference is made to name its former image once more; `up`, wait.

A service that did not run before is not waited for: a task that ends, or one that was stopped on
purpose. A project of which nothing ran is not brought up. `up` builds nothing, removes no container
of a service that the files no longer name, and pulls nothing where it can be told not to.
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
  [ $rc = 0 ] || [ "$why" ] || why=$(unknown "$*" $rc)
  [ $rc = 0 ] || printf '%s\n' "$path: $why" >&2
  return $rc
}

id_of() { docker image inspect --format '{{.ID}}' "$1" 2>/dev/null </dev/null || echo -; }

# A line for each container of the project: service, image, status, health, restart policy, start.
list_containers() {
  ids=$($compose ps -a -q 2>/dev/null </dev/null); states=
  [ -z "$ids" ] || states=$(docker container inspect --format '@state@' $ids 2>/dev/null </dev/null)
}

# `how` a service is: up, coming, or down for good; of several containers, the worst. `image` runs.
service_is() {
  how=; image=-; detail='has no container'
  while read -r its_name its_image status health policy _; do
    [ "$its_name" = "$1" ] || continue
    case $status:$health:$policy in
      running:none:* | running:healthy:*) one=up ;;
      exited:*:no. | exited:*:. | dead:*) one=down ;;
      *) one=coming ;;
    esac
    [ "$status" != running ] || [ "$image" != - ] || image=$its_image
    case $how:$one in
      :* | up:* | coming:down) how=$one; detail="is $status"
        [ "$health" = none ] || detail="$detail and $health" ;;
    esac
  done <<EOS
$states
EOS
  # No container at all is as likely a docker that is starting.
  [ -n "$how" ] || if [ -n "$ids" ]; then how=down; else how=coming; fi
}

# Whether each service that ran before runs; else `why` not, and `hopeless` if it never will.
all_up() {
  hopeless=; good=1
  while read -r service kind reference before local; do
    [ "$before" != - ] || continue
    service_is "$service"
    [ "$how" != up ] || continue
    [ "$how" != down ] || hopeless=1
    why="$service $detail"; good=
  done <<EOS
$services
EOS
  [ "$good" ]
}

await() {
  step "$1" "$2"
  now; deadline=$((now + health_timeout)); steady=
  while :; do
    list_containers; now
    if all_up; then
      # A program that ends as soon as it has started is up now and then: what changes is not steady.
      [ "$states" = "$steady" ] || { steady=$states; since=$now; }
      [ $((now - since)) -lt "$settle" ] || return 0
      why="not every service keeps running"
    else
      steady=
      [ -z "$hopeless" ] || return 1
    fi
    [ "$now" -lt "$deadline" ] || { why="$why after $health_timeout s"; return 1; }
    sleep 1
  done
}

up() { step "$1" "$2"; try $compose up -d --no-build $no_pull; }

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
      -) gone=1 ;;
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
  say result "$name" "$1" "$2"
  echo "$path: $1${2:+: $2}" >&2
  case $1 in unchanged | updated) exit 0 ;; *) exit 1 ;; esac
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

pull_failed() {
  because="the images cannot be pulled: $why"
  compare
  # Only an update that had pulled, and was cut off, can have changed a container: this is its rest.
  [ -z "$changed" ] || return 0
  [ -z "$gone" ] || restore
  tags_back || because="$because; and what was pulled keeps its name: $why"
  finish failed "$because"
}

# PATH NAME SERVICES
project() (
  path=$1 name=$2 services=$3
  [ -n "$compose" ] || finish failed 'there is no docker compose'
  cd -- "$path" 2>/dev/null || finish failed 'this folder cannot be entered'
  compose_file 2>/dev/null || finish failed 'there is no compose file in this folder'
  step check 'reading the compose file'
  try $compose config -q || finish failed "$why"
  if [ "$pull" ]; then
    step pull 'pulling images'
    try $limit $compose pull -q || {
      [ $rc != 124 ] || why="no end after $pull_timeout s"
      pull_failed
    }
  fi
  compare
  differs || [ "$gone" ] || finish unchanged ''
  up up 'bringing the project up' || undo "it cannot be brought up: $why"
  await wait 'waiting for its services' || undo "$why"
  differs || finish unchanged ''
  [ -z "$prune" ] || { step prune 'removing replaced images'; prune_replaced; }
  finish updated ''
)

# PATH NAME SERVICES
taken_back() (
  path=$1 name=$2 services=$3
  [ -n "$compose" ] || finish failed 'there is no docker compose'
  cd -- "$path" 2>/dev/null || finish failed 'this folder cannot be entered'
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

limit=; ! command -v timeout >/dev/null || limit="timeout $pull_timeout"
# Whatever a project's pull_policy says, what is brought up is what was pulled or put back.
no_pull=
[ -z "$compose" ] || ! $compose up --help 2>/dev/null </dev/null | grep -q -e '--pull ' || no_pull='--pull never'
failed=0
""".strip()

STATE = (
    '{{if ne (index .Config.Labels "com.docker.compose.oneoff") "True"}}'
    '{{index .Config.Labels "com.docker.compose.service"}} {{.Image}} {{.State.Status}} '
    "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} "
    "{{.HostConfig.RestartPolicy.Name}}. {{.State.StartedAt}}{{end}}"
)
