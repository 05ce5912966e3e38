"""Texts about what steps found, for the details of operations."""

from tendhost.server.packages.query import QueryResult


def counted_packages(count: int) -> str:
    return "1 package" if count == 1 else f"{count} packages"


def listed_words(result: QueryResult) -> str:
    """The result of a query, in one line."""
    if not result.asked_packages:
        return "its packages were not queried"
    pending = result.pending
    withheld = len(pending.packages) - pending.count
    words = ["1 update pending" if pending.count == 1 else f"{pending.count} updates pending"]
    security = pending.security_count
    if security is None:
        words.append("security updates unknown")
    elif security:
        words.append(f"{security} of them security updates")
    if withheld:
        words.append(f"{withheld} withheld")
    return f"{', '.join(words)}; {reboot_words(result)}"


def reboot_words(result: QueryResult) -> str:
    """Whether a reboot is needed, in one line."""
    reboot = result.reboot
    words = {"needed": "reboot needed", "not_needed": "no reboot needed"}
    known = words.get(str(reboot.need), "unknown whether a reboot is needed")
    return f"{known} ({reboot.reason})" if reboot.reason else known
