"""List every error in docs/errors.md from the tables in the code; `--check` finds drift."""

import sys
from pathlib import Path

from tendhost.server.domain.errors import TendhostError
from tendhost.server.domain.host_errors import HostError
from tendhost.server.rpc.status import CODES, OUTCOME_UNKNOWN

TARGET = Path(__file__).resolve().parent.parent / "docs" / "errors.md"

_HEAD = """\
# Errors

Generated from the code by `make protos`; the checks fail when this page differs from the code.

Every refused call carries a canonical status code and a `google.rpc.ErrorInfo` with the domain `tendhost`, one of
the reasons below, and the facts of the message as metadata. Reasons and the names of facts never change.

* A `google.rpc.BadRequest` names all invalid fields at once.
* A `google.rpc.PreconditionFailure` names the host whose state does not allow the request.
* A `google.rpc.RetryInfo` says after how long the same request may succeed.

A status takes at most 6 KiB on the wire, because gRPC clients do not receive larger ones: long values end with "…",
and the last entry of a long list says how many more there are. An unexpected error of the server has the status and
the reason `INTERNAL`; its details are in the server's log only.

## Errors of requests

A refused call has changed nothing, unless the table says otherwise. A call whose deadline passed, whose connection
broke, or that ended with `INTERNAL` may have been carried out. Send it again with the same `request_id`: the server
carries it out at most once.

| reason | status | may have changed something | meaning |
| --- | --- | --- | --- |
"""

_HOST = """
## Errors of hosts

An error of a host ends the operation and becomes the operation's `problem`; the call that started the operation
succeeds. In the response of TestHost it is the `problem`, too. Only the other calls that connect to a host themselves,
to register it, pin its key or query its osquery, fail with the status below. An error that needs a person moves
the host to `failed`, except in a query, a check or a dry run. The host leaves `failed` by a retry or, if only the login
had failed, when its login settings change.

| reason | status | needs a person | meaning |
| --- | --- | --- | --- |
"""


def listing() -> str:
    """The whole document."""
    request, host = [], []
    for error, code in CODES.items():
        if issubclass(error, HostError):
            person = "yes" if error.needs_person else ""
            host.append(f"| `{error.reason}` | {code.name} | {person} | {_meaning(error)} |")
        else:
            perhaps = "yes: repeat it with the same request_id" if error in OUTCOME_UNKNOWN else ""
            request.append(f"| `{error.reason}` | {code.name} | {perhaps} | {_meaning(error)} |")
    return _HEAD + "\n".join(request) + "\n" + _HOST + "\n".join(host) + "\n"


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
