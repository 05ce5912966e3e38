r"""Settings that a compose project runs with, as the labels of its containers tell, for each call of docker compose.

A project that was started with several files, another name, an environment file or a project folder is
found by the labels `com.docker.compose.project.*` (compose-spec, "Labels"; docker compose pkg/api), and
each call gets the same settings again. What no label tells (variables of the shell, a file that was
changed since) shows in the hash of a service's configuration, which docker compose keeps as a label as
well: where it differs although the same docker compose made it, the service would be re-created from
other settings than it runs with.
"""

_LABELS = (
    "project",
    "project.working_dir",
    "project.config_files",
    "project.environment_file",
    "oneoff",
    "service",
    "version",
    "config-hash",
)
_FORMAT = "\t".join(
    ("{{.ID}}", "{{.Status}}", *(f'{{{{.Label "com.docker.compose.{name}"}}}}' for name in _LABELS))
)

_SETTINGS = r"""
# docker compose with the settings of the project; `within` may limit its time.
dc() { eval "$within $compose $flags" '"$@"'; }
within=
tab=$(printf '\t')
quoted() { printf '%s' "$1" | sed "s/'/'\\\\''/g; s/^/'/; s/\$/'/"; }
real() { (cd -P -- "$1" 2>/dev/null && pwd -P); }

# The containers of compose projects, newest first, without one-off ones: id, whether it runs, labels. A
# dash stands before each field, since `read` takes tabs together.
containers_listed() {
  docker ps -a --no-trunc --filter label=com.docker.compose.project --format '@format@' </dev/null |
    awk -F '\t' -v OFS='\t' '$7 != "True" {
      $2 = $2 ~ /^Up/ && $2 !~ /[(]Paused[)]/ ? "runs" : ""
      for (at = 1; at <= NF; at++) $at = "-" $at
      print }'
}

# The file of a label: version 1 names it from the folder that it was started in.
file_of() { case $2 in /*) file=$2 ;; *) file=$1/$2 ;; esac; }

# Whether labels are of this folder: FOLDER, FILES.
from_here() {
  [ -n "$1" ] || return 1
  [ "$(real "$1")" != "$here" ] || return 0
  rest=$2${2:+,}
  while [ -n "$rest" ]; do
    file_of "$1" "${rest%%,*}"; rest=${rest#*,}
    [ "$(real "${file%/*}")" != "$here" ] || return 0
  done
  return 1
}

# Sets `flags` to those that the labels ask for: PROJECT, FOLDER, FILES, ENVIRONMENT FILES. Else `why` not.
flags_of() {
  flags="-p $(quoted "$1")"
  [ -n "$2" ] || return 0
  [ -d "$2" ] || { why="it was started from the folder $2, which is not there"; return 1; }
  # Version 1 has no name for it.
  [ -n "$3" ] || { why='it was started from a compose file on standard input'; return 1; }
  flags="$flags --project-directory $(quoted "$2")"
  rest=$3${3:+,}
  while [ -n "$rest" ]; do
    file_of "$2" "${rest%%,*}"; rest=${rest#*,}
    case $file in */-) why='it was started from a compose file on standard input'; return 1 ;; esac
    [ -f "$file" ] || { why="it was started from the file $file, which is not there"; return 1; }
    flags="$flags -f $(quoted "$file")"
  done
  rest=$4${4:+,}
  while [ -n "$rest" ]; do
    file_of "$2" "${rest%%,*}"; rest=${rest#*,}
    [ -f "$file" ] || { why="it was started with the environment file $file, which is not there"; return 1; }
    flags="$flags --env-file $(quoted "$file")"
  done
}

# Where a service that runs is in no active profile, all profiles become active.
activate_profiles() {
  known=$(dc config --services 2>/dev/null </dev/null) || return 0
  hidden=
  for one in $runs; do
    printf '%s\n' "$known" | grep -qxF -e "$one" || hidden=1
  done
  [ -n "$hidden" ] || return 0
  while IFS= read -r one; do
    [ -z "$one" ] || flags="$flags --profile $(quoted "$one")"
  done <<EOS
$(dc config --profiles 2>/dev/null </dev/null)
EOS
}

# Whether docker compose would leave this container: SERVICE, CONTAINER, HASH. 1: no; 2: not known.
# The hashes of version 2 do not always agree with those that it prints (2.26 with an env_file), so it is
# asked for its plan; those of version 1 include the image. A tag that has moved is a reason of its own, and
# is put back for the question by an update.
would_stay() {
  reference=$(docker container inspect --format '{{.Config.Image}}' "$2" 2>/dev/null </dev/null)
  image=$(docker container inspect --format '{{.Image}}' "$2" 2>/dev/null </dev/null)
  moved=$(docker image inspect --format '{{.ID}}' "$reference" 2>/dev/null </dev/null)
  if [ "$moved" != "$image" ]; then
    [ -n "$may_tag" ] || return 2
    docker image tag "$image" "$reference" 2>/dev/null </dev/null || return 1
  fi
  case $ours in
    0.* | 1.*) plan=$(dc config --hash '*' 2>/dev/null </dev/null) && plan=$(printf '%s\n' "$plan" |
      awk -v service="$1" -v hash="$3" '$1 == service && $2 != hash { print " Recreate" }') || plan=' Recreate' ;;
    *) plan=$(dc up --dry-run -d --no-build --no-deps --pull never "$1" 2>&1 </dev/null) || plan=' Recreate' ;;
  esac
  [ -z "$moved" ] || [ "$moved" = "$image" ] || docker image tag "$moved" "$reference" 2>/dev/null </dev/null
  case $plan in *' Recreate'*) return 1 ;; esac
}
may_tag=

# Sets `unlike` to the services that run with other settings than `flags` give, and `unsure` to those of
# which that cannot be told, since another docker compose made them, or this one prints no hashes.
compare_settings() {
  unlike= unsure=
  hashes=$(dc config --hash '*' 2>/dev/null </dev/null) || { unsure=$(echo $runs); return 0; }
  while IFS=$tab read -r id state its_project folder files env oneoff one version hash; do
    [ "$its_project:$state" = "-$project:-runs" ] || continue
    one=${one#-}
    due=$(printf '%s\n' "$hashes" | awk -v service="$one" '$1 == service { print $2 }')
    [ -n "$due" ] && [ "-$due" != "$hash" ] || continue
    case " $unlike $unsure " in *" $one "*) continue ;; esac
    # Distributions add to a version: "2.26.1-4" is 2.26.1.
    case $ours in
      "${version#-}" | "${version#-}"[-+]*)
        would_stay "$one" "${id#-}" "${hash#-}"
        case $? in 1) unlike="$unlike $one" ;; 2) unsure="$unsure $one" ;; esac ;;
      *) unsure="$unsure $one" ;;
    esac
  done <<EOS
$all
EOS
  unlike=${unlike# }
  unsure=${unsure# }
}

set_runs() {
  runs=$(printf '%s\n' "$all" |
    awk -F '\t' -v name="-$project" '$3 == name && $2 == "-runs" { print substr($8, 2) }' | sort -u)
}

# The groups of labels that containers in this folder have, in `groups`, and their projects in `names`.
find_groups() {
  groups= names=
  while IFS=$tab read -r id state its_project folder files env rest; do
    [ "$1" = any ] || [ "$state" = -runs ] || continue
    [ -n "$id" ] && from_here "${folder#-}" "${files#-}" || continue
    case "$tab$groups" in
      *"$tab$its_project$tab$folder$tab$files$tab$env$tab"*) ;;
      *) groups="$groups$its_project$tab$folder$tab$files$tab$env$tab
$tab" ;;
    esac
    case " $names " in *" ${its_project#-} "*) ;; *) names="$names ${its_project#-}" ;; esac
  done <<EOS
$all
EOS
}

# A project none of whose containers is from here: it never ran, is of an old version, or has moved.
settle_by_name() {
  compose_file 2>/dev/null || { why='there is no compose file in this folder'; return 1; }
  for id in $(dc ps -a -q 2>/dev/null </dev/null); do
    found=$(printf '%s\n' "$all" | awk -F '\t' -v id="-$id" '$1 == id { print $3 FS $4; exit }')
    [ -n "$found" ] || continue
    project=${found%%"$tab"*}; project=${project#-}
    folder=${found#*"$tab"}; folder=${folder#-}
    if [ -n "$folder" ] && [ -d "$folder" ]; then
      why="the project in the folder $folder has the same name, $project"
      return 1
    fi
    set_runs
    activate_profiles
    left=$folder
    compare_settings
    # In another place only equal settings show that it is the same project.
    [ -z "$left" ] || unlike="$unlike${unsure:+${unlike:+ }$unsure}"
    return 0
  done
}

# Finds the settings of the project in this folder: `project` (empty: it has no container), `flags`, and
# `unlike`. Else `why` it cannot be used.
settle() {
  flags= project= unlike= unsure= why=
  here=$(pwd -P)
  all=$(containers_listed)
  ours=$($compose version --short 2>/dev/null </dev/null); ours=${ours#v}
  find_groups running
  # Of a project that does not run, what it ran with last.
  [ -n "$groups" ] || find_groups any
  case ${names# } in
    *' '*) why="several projects run from this folder: ${names# }"; return 1 ;;
    '') settle_by_name; return ;;
    *) project=${names# } ;;
  esac
  set_runs
  best= best_unlike= several=
  while IFS=$tab read -r its_project folder files env rest; do
    its_project=${its_project#"$tab"}
    [ -n "$its_project" ] || continue
    flags_of "$project" "${folder#-}" "${files#-}" "${env#-}" || return 1
    activate_profiles
    compare_settings
    # Of several, those that every service agrees with: one that did not change keeps its labels.
    if [ -z "$best" ]; then
      best=$flags best_unlike=$unlike best_unsure=$unsure
    else
      several=1
      [ -n "$unlike$unsure" ] || { best=$flags best_unlike= best_unsure=; }
    fi
  done <<EOS
$groups
EOS
  flags=$best unlike=$best_unlike
  # Which of several it is to be cannot be told then.
  [ -z "$several" ] || unlike="$unlike${best_unsure:+${unlike:+ }$best_unsure}"
}
""".strip()

SETTINGS = _SETTINGS.replace("@format@", _FORMAT)
"""Functions for sh: `settle` and `dc`. They need `compose`, and the function `compose_file`."""

UNLIKE = (
    "docker compose would recreate its containers with other settings than those they run with (a file or a"
    " variable has changed since their start); run docker compose up -d once on the host with the settings that the"
    " project should have"
)
"""Why services of a project are left as they are."""
