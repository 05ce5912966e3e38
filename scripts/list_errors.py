"""Lists every error in docs/errors.md from the tables in the code; `--check` finds drift."""

import sys
from pathlib import Path

from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.host_errors import HostError
from tendhost.server.rpc.status import CODES, OUTCOME_UNKNOWN

TARGET = Path(__file__).resolve().parent.parent / "docs" / "errors.md"

_HEAD = """\
# Errors

Made from the code by `make protos`; the checks fail when it differs.

Every refused call carries a canonical status code and a `google.rpc.ErrorInfo` with the domain `tendhost`, one of
the reasons below, and the facts of the message as metadata. Reasons and the names of facts never change.
Invalid fields are named at once, in a `google.rpc.BadRequest`; a state that does not allow what was asked also
has a `google.rpc.PreconditionFailure`; a `google.rpc.RetryInfo` says where trying again helps. A status takes at
most 6 KiB on the wire, for clients do not get larger ones: long values end with "…", and the last entry of a long
list says how many more there are. A fault that nobody foresaw is `INTERNAL` with the reason `INTERNAL`, and says
nothing of its inside: the server's log does.

## Of a request

A call that is refused has changed nothing, but for those that say otherwise; besides these, one whose deadline
passed, whose link broke, or that ended with `INTERNAL` may have been carried out. Sent again with its `request_id`,
it is carried out at most once.

| reason | status | may have changed something | meaning |
| --- | --- | --- | --- |
"""

_WORK = """
## Of a host

What goes wrong on a host is no error of a call: it ends the operation, as its `problem`. The status is that of
the few calls that go to a host themselves, which are those that register one or pin its key anew.

| reason | status | needs a person | meaning |
| --- | --- | --- | --- |
"""


def listing() -> str:
    """The whole document."""
    request, work = [], []
    for error, code in CODES.items():
        if issubclass(error, HostError):
            person = "yes" if error.needs_person else ""
            work.append(f"| `{error.reason}` | {code.name} | {person} | {_meaning(error)} |")
        else:
            perhaps = "yes: repeat it with the same request_id" if error in OUTCOME_UNKNOWN else ""
            request.append(f"| `{error.reason}` | {code.name} | {perhaps} | {_meaning(error)} |")
    return _HEAD + "\n".join(request) + "\n" + _WORK + "\n".join(work) + "\n"


def _meaning(error: type[TendhostError]) -> str:
    first = (error.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(first.split())


def main() -> int:
    """Write the document, or with `--check` say whether it is what would be written."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(listing(), encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == listing():
        return 0
    print(f"{TARGET.name} is not what the code says: run `make protos`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
