"""WHERE clauses that are built from conditions, with numbered parameters."""

from collections.abc import Iterable


class Where:
    """Conditions that all have to hold. Several may number their parameters together."""

    def __init__(self, values: list[object] | None = None) -> None:
        """`values`: the parameters of the statement so far, to which those of these conditions are added."""
        self._conditions: list[str] = []
        self.values: list[object] = [] if values is None else values

    def add(self, condition: str, *values: object) -> None:
        """Add `condition`, in which `{}` stands for each of `values` in turn."""
        first = len(self.values) + 1
        numbers = (f"?{number}" for number in range(first, first + len(values)))
        self._conditions.append(condition.format(*numbers))
        self.values.extend(values)

    def add_in(self, column: str, values: Iterable[object]) -> None:
        """Add that `column` is one of `values`; nothing where there are none."""
        wanted = tuple(values)
        if wanted:
            self.add(f"{column} IN ({', '.join('{}' for _ in wanted)})", *wanted)

    def __str__(self) -> str:
        return f"WHERE {' AND '.join(self._conditions)}" if self._conditions else ""
