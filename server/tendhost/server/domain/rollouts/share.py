"""Numbers of hosts as users write them: "5", "20%" or, for a wave, "rest"."""

import re
from dataclasses import dataclass

REST = "rest"
PERCENT_OF_ALL = 100
_WRITTEN = re.compile(r"(?P<percent>\d{1,3})%|(?P<count>\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCount:
    """Either a number of hosts or a percentage of them."""

    count: int | None = None
    percent: int | None = None
    """1 to 100; 0 where no host at all is allowed."""

    @classmethod
    def parse(cls, text: str) -> "HostCount":
        """The count of a text such as "5" or "20%". Raises ValueError."""
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is neither a number of hosts nor a percentage")
        if match["count"] is not None:
            return cls(count=int(match["count"]))
        percent = int(match["percent"])
        if percent > PERCENT_OF_ALL:
            raise ValueError(f"{text!r} is more than 100%")
        return cls(percent=percent)

    def of(self, total: int, *, at_least: int) -> int:
        """The number of hosts out of `total`: a percentage is rounded down, but not below `at_least`."""
        if self.count is not None:
            return self.count
        assert self.percent is not None
        return max(at_least, total * self.percent // PERCENT_OF_ALL)

    def __str__(self) -> str:
        return f"{self.percent}%" if self.count is None else str(self.count)
