"""How a script reaches the sh of a host: over standard input, so that it may be of any length.

The kernel bounds one argument to 128 KiB (MAX_ARG_STRLEN, execve(2)), and sshd hands a command to the login shell
as one argument. So what is sent as a command is a loader of fixed length: it calls sh, whatever the login shell
is, and its quotes hold no character (`'`, `!`, backslash, newline) that bash, tcsh or fish read in different ways.
The script is on standard input, without being in a list of processes, and ends with a line of its own: of a link
that breaks in the middle nothing is executed.
"""

END = "#tendhost: the script ends here"
CUT_OFF = 255
"""The exit status of a loader whose script did not arrive as a whole."""

_ALL = f'script=$(cat); case $script in *"{END}") ;; *) exit {CUT_OFF} ;; esac; eval "$script"'
"""All of the standard input is the script."""
# read of sh takes single bytes from a pipe, so that what follows the line is left for the script.
_UP_TO_END = (
    "newline=$(echo x; echo x); newline=${newline#x}; newline=${newline%x}; script=;"
    f' while IFS= read -r line; do if [ "$line" = "{END}" ]; then eval "$script"; exit; fi;'
    f" script=$script$line$newline; done; exit {CUT_OFF}"
)
"""The script is the beginning of the standard input; the rest is left to it."""


def loader(*, reads: bool, through_sudo: bool) -> str:
    """The command for any login shell; `reads` is whether the script has an input of its own."""
    sudo = "sudo -n -- " if through_sudo else ""
    return f"{sudo}sh -c '{_UP_TO_END if reads else _ALL}'"


def standard_input(script: str, input: bytes) -> bytes:
    """What the loader reads: the script, its end, and the script's own input."""
    if f"\n{END}\n" in f"\n{script}\n":
        raise ValueError("the script contains the line that ends a script")
    sent = f"{script}\n{END}\n".encode()
    return sent + input
