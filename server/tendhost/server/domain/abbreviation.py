"""Lists in messages: the first of them by name, and how many more there are."""

from collections.abc import Sequence


def abbreviated(
    names: Sequence[str], *, most: int, total: int | None = None, separator: str = ", "
) -> str:
    """The first `most` of `names`, and how many more there are: "a, b and 3 more", with "; " "a; b; and 3 more".

    `total` is how many there are altogether; None: `names` are all of them.
    """
    shown = names[:most]
    more = (len(names) if total is None else total) - len(shown)
    rest = "; and" if separator == "; " else " and"
    return separator.join(shown) + (f"{rest} {more} more" if more > 0 else "")
