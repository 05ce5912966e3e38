r"""What docker says on its standard error, retold on the host, so that no value of a project leaves it.

The messages of docker and docker compose quote what they are about: a value with a typing error, a line
of an env_file, the message of a `${NAME:?…}`, a command line. A value cannot be known from the words
around it, so nothing of a message is passed on as it is. What leaves the host consists of

* phrases of docker's own, which are looked for in a message (`_PHRASES`),
* numbers of lines, names of services and of options where docker places them, and
* references of images, and their registries, that the script has in `refs`, separated by blanks.

A message without such a phrase stays on the host; `unknown_message` is what is told in its place.
"""

_PHRASES = (
    # YAML: libyaml's messages, in Go and in Python, without what they quote.
    "mapping values are not allowed",
    "that cannot start any token|found a character that cannot start any token",
    "could not find expected",
    "did not find expected",
    "found unexpected end of stream",
    "found unknown escape character",
    "found undefined alias",
    "unknown anchor",
    "could not determine a constructor for the tag",
    "expected <block end>",
    "cannot unmarshal",
    "already defined at line|a key is there twice",
    "control characters are not allowed",
    # The compose file.
    "nvalid interpolation format|invalid interpolation format (write $$ for a plain $)",
    "nvalid template|invalid interpolation format (write $$ for a plain $)",
    "is missing a value|a required variable is missing a value",
    "issing mandatory value for|a required variable is missing a value",
    "error while interpolating|a value does not have the type of its option",
    "to appropriate type|a value does not have the type of its option",
    "error decoding|a value does not have the type of its option",
    "must be a string",
    "must be a number",
    "must be a boolean",
    "must be a mapping",
    "must be a list",
    "must be a array",
    "must be a null|has a value of another type than this option takes",
    "is an invalid type|has a value of another type than this option takes",
    "contains an invalid type|has a value of another type than this option takes",
    "unexpected type|has a value of another type than this option takes",
    "invalid healthcheck",
    "contains non-unique items",
    "array items must be unique|contains non-unique items",
    "is not allowed|an option is there that docker compose does not know",
    "nsupported config option|an option is there that docker compose does not know",
    "does not match any of the regexes|an option is there that docker compose does not know",
    "needs to be an object|the compose file is not a mapping",
    "depends on undefined service|depends on a service that is not defined",
    "which is undefined|depends on a service that is not defined",
    "refers to undefined network",
    "refers to undefined volume",
    "refers to undefined secret",
    "refers to undefined config",
    "no declaration was found in the volumes section|refers to undefined volume",
    "dependency cycle detected",
    "has neither an image nor a build context",
    "nvalid hostPort|invalid host port",
    "nvalid containerPort|invalid container port",
    "nvalid ip address|invalid IP address",
    "too many colons|a volume has too many colons",
    "has incorrect format|a volume has an incorrect format",
    "nvalid duration|invalid duration",
    "nvalid spec|invalid volume",
    "env file|an env_file cannot be read",
    "unexpected character|an environment file cannot be parsed: unexpected character",
    "unterminated quoted value|an environment file cannot be parsed: unterminated quoted value",
    "key cannot contain a space|an environment file cannot be parsed: a name has a space in it",
    "could not parse statement|an environment file cannot be parsed",
    "may not contain whitespace|an environment file cannot be parsed: a name has a space in it",
    "no such file or directory",
    "No such file or directory|no such file or directory",
    "no configuration file provided|there is no compose file",
    "no such service",
    "No such service|no such service",
    "declared as external|something that is declared as external is not there",
    "project name",
    # docker: its daemon, registries, and what keeps a container from starting.
    "Cannot connect to the Docker daemon",
    "permission denied",
    "Permission denied|permission denied",
    "client version|the versions of docker and its daemon do not fit",
    "TOOMANYREQUESTS|429 Too Many Requests",
    "toomanyrequests|429 Too Many Requests",
    "Too Many Requests|429 Too Many Requests",
    "500 Internal Server Error",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "504 Gateway Time|504 Gateway Timeout",
    "connection refused",
    "connection reset by peer",
    "no route to host",
    "network is unreachable",
    "i/o timeout",
    "TLS handshake timeout",
    "Client.Timeout exceeded|timeout",
    "context deadline exceeded|timeout",
    "request canceled while waiting for connection|timeout",
    "no such host",
    "Temporary failure in name resolution|no such host",
    "server misbehaving",
    "unexpected EOF|the connection ended early",
    ": EOF|the connection ended early",
    "x509: certificate|the certificate of the registry is not trusted",
    "HTTP response to HTTPS client",
    "proxyconnect|the proxy does not answer",
    "manifest unknown",
    "manifest for|the image is not in its registry",
    "no matching manifest for|the image has no variant for this platform",
    "name unknown|the image is not in its registry",
    "failed to resolve reference|the image cannot be resolved",
    "pull access denied|the image is not in its registry, or needs a login",
    "unauthorized|the registry asks for a login",
    "authentication required|the registry asks for a login",
    "no basic auth credentials|the registry asks for a login",
    "denied:|the registry denies access",
    "invalid reference format|an image has an invalid name",
    "No such image",
    "no such image|No such image",
    "No such container",
    "No such object",
    "no space left on device",
    "disk quota exceeded",
    "input/output error",
    "read-only file system",
    "cannot allocate memory",
    "port is already allocated",
    "address already in use",
    "is already in use by container|the name of a container is already in use",
    "executable file not found",
    "exec format error",
    "invalid mount config|a mount is invalid",
    "error mounting|a mount is invalid",
    "failed to mount|a mount is invalid",
    "bind source path does not exist|the source of a mount is not there",
    "error gathering device information|a device is not there",
    "could not select device driver|a device is not there",
    "Pool overlaps with other|the address range of a network is already in use",
    "non-overlapping IPv4|no address range is left for another network",
    "network not found",
    "No such network|network not found",
    "dependency failed to start|a service that is depended on failed to start",
    "is unhealthy|a service that is depended on is unhealthy",
    "t complete successfully|a service that is depended on ended with an error",
    "is not running",
    "is paused",
    "marked for removal|the removal of a container is under way",
    "is already in progress",
    "OCI runtime|a container cannot be started",
    "failed to create task|a container cannot be started",
)
"""What is looked for, and after a bar what is told in its place."""

_OPTIONS = (
    "annotations|attach|blkio_config|build|cap_add|cap_drop|cgroup|cgroup_parent|command|"
    "configs|container_name|cpu_count|cpu_percent|cpu_period|cpu_quota|cpu_rt_period|"
    "cpu_rt_runtime|cpu_shares|cpus|cpuset|credential_spec|depends_on|deploy|develop|"
    "device_cgroup_rules|devices|dns|dns_opt|dns_search|domainname|entrypoint|env_file|"
    "environment|expose|extends|external_links|extra_hosts|gpus|group_add|healthcheck|"
    "hostname|image|init|ipc|isolation|label_file|labels|links|logging|mac_address|"
    "mem_limit|mem_reservation|mem_swappiness|memswap_limit|network_mode|networks|"
    "oom_kill_disable|oom_score_adj|pid|pids_limit|platform|ports|post_start|pre_stop|"
    "privileged|profiles|pull_policy|read_only|restart|runtime|scale|secrets|"
    "security_opt|shm_size|stdin_open|stop_grace_period|stop_signal|storage_opt|sysctls|"
    "tmpfs|tty|ulimits|user|userns_mode|uts|volumes|volumes_from|working_dir"
)
"""Of a service, as the Compose Specification lists them."""

_TOLD = r"""
# Reads what docker says, and prints what is told of it.
told() {
  refs=$refs awk '
    function found(pattern) { return match($0, pattern) ? substr($0, RSTART, RLENGTH) : "" }
    function add(text) { if (text != "") where = where text ": " }
    function image(  names, number, at, host) {
      number = split(ENVIRON["refs"], names, " ")
      for (at = 1; at <= number; at++) if (index($0, names[at])) return names[at]
      for (at = 1; at <= number; at++) {
        host = names[at]
        if (sub("/.*", "", host) && host ~ /[.:]/ && index($0, host)) return host
      }
      return ""
    }
    function option(  text) {
      # Only at the beginning, and after words of docker: a value may look like a place.
      text = found("^(validating [^:]+: |(invalid|error)[a-z ]+\047?)?services[.[][A-Za-z0-9_-]+[]]?[.](@options@)")
      sub(/.*services/, "services", text)
      if (text == "") text = found("\"(@options@)\" option")
      gsub(/"| option/, "", text); gsub(/[][]/, ".", text); gsub(/[.][.]/, ".", text)
      return text
    }
    BEGIN { number = split("@phrases@", phrases, "\t") }
    /level=warning/ || /variable is not set/ { next }
    {
      line = found("^(yaml: |[^:]*[.]env: )?line [0-9]+:|^ +line [0-9]+:|, line [0-9]+, column|at line [0-9]+$")
      gsub(/[^0-9]/, "", line)
      if (length(line) > 6) line = ""
      # Python names the line of what is wrong after it.
      if (/^  in .*, column [0-9]+$/) { if (lines && line) said[lines] = said[lines] " in line " line; next }
      for (at = 1; at <= number; at++) {
        split(phrases[at], pair, "|")
        if (!index($0, pair[1])) continue
        where = ""
        add(image()); add(option()); if (line) add("line " line)
        said[++lines] = where (pair[2] != "" ? pair[2] : pair[1])
        next
      }
    }
    END { for (at = 1; at <= lines; at++) print said[at] }
  ' | awk '!seen[$0]++' | tail -n 4
}
# Runs a command, and tells of its errors what may be told.
retelling() {
  { said=$("$@" 2>&1 >&4 4>&-); code=$?; } 4>&1
  [ -z "$said" ] || printf '%s\n' "$said" | told >&2
  return $code
}
""".strip()

RETELLING = _TOLD.replace("@phrases@", r"\t".join(_PHRASES)).replace("@options@", _OPTIONS)
"""Functions for sh: `told` is a filter; `retelling` runs a command, its output as it is."""


def unknown_message(command: str, status: int | str) -> str:
    """What is told in place of a message that has to stay on the host."""
    return (
        f"`{command}` ended with status {status}; its message stays on the host, since it may quote"
        f" values of the project: run the command there to see it"
    )
