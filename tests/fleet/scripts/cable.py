"""A network cable made of two TAP devices, with faults: cable.py LAB_END HOST_END KNOB.

KNOB is a file such as ``delay_ms=100 jitter_ms=20 loss=0.05 cut=0``, read again whenever it changes.  In userspace
because many kernels come without the netem queueing discipline.
"""

import contextlib
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time
from pathlib import Path

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
KNOB_POLL_SECONDS = 0.05


def tap(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


class Knob:
    """The faults, as the file says them now; a half-written file leaves them as they were."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = -1
        self.faults: dict[str, float] = {}

    def look(self) -> None:
        try:
            modified = self._path.stat().st_mtime_ns
            if modified != self._seen:
                pairs = (word.split("=") for word in self._path.read_text(encoding="ascii").split())
                self.faults = {name: float(value) for name, value in pairs}
                self._seen = modified
        except (OSError, ValueError):
            pass

    def loses(self) -> bool:
        return bool(self.faults.get("cut")) or random.random() < self.faults.get("loss", 0)

    def delay_seconds(self) -> float:
        jitter = random.uniform(-1, 1) * self.faults.get("jitter_ms", 0)
        return max(0.0, self.faults.get("delay_ms", 0) + jitter) / 1000


def carry(lab: int, host: int, knob: Knob) -> None:
    """Move frames between the two ends until one of them is gone."""
    under_way: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        knob.look()
        pause = KNOB_POLL_SECONDS
        if under_way:
            pause = min(pause, max(0.0, under_way[0][0] - time.monotonic()))
        readable, _, _ = select.select([lab, host], [], [], pause)
        for end in readable:
            while True:
                try:
                    frame = os.read(end, 65536)
                except BlockingIOError:
                    break
                except OSError:  # the namespace that held the device is gone
                    return
                if knob.loses():
                    continue
                count += 1
                arrival = time.monotonic() + knob.delay_seconds()
                heapq.heappush(under_way, (arrival, count, host if end == lab else lab, frame))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, end, frame = heapq.heappop(under_way)
            with contextlib.suppress(OSError):  # a frame to a dead port is lost, as on copper
                os.write(end, frame)


def main() -> None:
    lab_end, host_end, path = sys.argv[1:]
    lab, host = tap(lab_end), tap(host_end)
    print("ready", flush=True)
    carry(lab, host, Knob(Path(path)))


if __name__ == "__main__":
    main()
