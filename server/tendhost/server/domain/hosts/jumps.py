"""The route to a host through its jumps: which jump comes next, and which routes there are not."""

from dataclasses import dataclass, replace

from tendhost.server.domain.hosts.host import LOCAL, Host, HostConfig

MOST_JUMPS = 8
"""Jumps on one route. Each encrypts everything once more, and costs a login of its own."""


class RouteBroken(Exception):
    """A host cannot be reached through its jumps. `jump` is the jump that is to blame."""

    def __init__(self, jump: str, problem: str) -> None:
        super().__init__(problem)
        self.jump = jump


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The route to a host, as far as it is known."""

    to: HostConfig
    jumps: tuple[Host, ...] = ()
    """The host's own jump first, then the jump of that, and so on."""

    @property
    def wanted(self) -> str:
        """Name of the jump that belongs behind those that are known; empty: the route is complete."""
        return self.jumps[-1].config.jump if self.jumps else self.to.jump

    def through(self, found: Host | None) -> "Route":
        """The route with the host that is registered as `wanted`. Raises RouteBroken."""
        name = self.wanted
        way = (self.to.name, *(jump.name for jump in self.jumps))
        if self.to.address == LOCAL:
            problem = "the server's own machine (address 'local') is not reached through a jump"
            raise RouteBroken(name, problem)
        if name == way[-1]:
            raise RouteBroken(name, f"host {name!r} cannot be its own jump")
        if name in way:
            raise RouteBroken(name, f"the jumps lead in a circle: {' → '.join((*way, name))}")
        of = f", the jump of {way[-1]!r}," if self.jumps else ""
        if found is None:
            problem = f"jump {name!r}{of} is not registered; add it: tendhost host add {name} --address ADDRESS"
            raise RouteBroken(name, problem)
        if found.config.address == LOCAL:
            problem = (
                f"jump {name!r}{of} is the server's own machine (address 'local'), from which every connection begins"
                " anyway; a host that the server reaches itself needs no jump"
            )
            raise RouteBroken(name, problem)
        if len(self.jumps) == MOST_JUMPS:
            problem = f"there are more than {MOST_JUMPS} jumps: {' → '.join((*way, name))}"
            raise RouteBroken(name, problem)
        return replace(self, jumps=(*self.jumps, found))
