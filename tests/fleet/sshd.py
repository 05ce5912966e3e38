"""Commands for sh that start, reload and end an sshd(8) of a host, and wait until it has done so.

An sshd goes into the background, and reloads, before it listens. It writes its PidFile when it listens and takes
signals, and removes it when it listens no longer, to reload or to end (sshd.c of OpenSSH).
"""

from shlex import quote

PID_FILE = "/run/sshd.pid"
"""The PidFile of the sshd that a host is reached by."""
_SECONDS = 20


def started(file: str, port: int) -> str:
    """Start another sshd with this sshd_config(5) at a port; its PidFile is `FILE.pid`."""
    log = f"{file}.log"
    start = f"/usr/sbin/sshd -f {file} -p {port} -o PidFile={file}.pid -E {log}"
    return f"{{ {start} && {_until(f'[ -s {file}.pid ]')}; }} || {{ cat {log} >&2; false; }}"


def reloaded(pid_file: str = PID_FILE) -> str:
    """Have an sshd that listens read its configuration and its keys again. Open sessions stay open."""
    again = _until(f"[ -s {pid_file} ]")
    return f"pid=$(cat {pid_file}) && rm {pid_file} && kill -HUP $pid && {again}"


def ended(pid_files: str) -> str:
    """End each sshd whose PidFile matches a pattern. Open sessions stay open."""
    return f"cat {pid_files} | xargs -r kill; {_until(f'! ls {pid_files} >/dev/null 2>&1')}"


def _until(condition: str) -> str:
    return f"timeout {_SECONDS} sh -c {quote(f'until {condition}; do sleep 0.02; done')}"
