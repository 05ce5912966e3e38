"""What a host's own files say of its hardware, mounts and network."""

from dataclasses import replace

import pytest

from tendhost.server.domain.inventory.hardware import (
    Cpu,
    Interface,
    InventoryPart,
    Machine,
    Memory,
    Mount,
)
from tendhost.server.packages.collector import Collected, collector_lines, parse_collected
from tendhost.server.packages.errors import ParseFailed, PartMissing
from tendhost.server.packages.script import Part, parse_parts
from tests.unit.packages.collector.recordings import NAMES, recorded, understood

DEBIAN = understood(recorded("debian12"))
PARTS = dict(parse_parts(recorded("debian12"), expected=()))


def collected(**outputs: str) -> Collected:
    changed = {name: Part(0, text, "") for name, text in outputs.items()}
    return parse_collected(PARTS | changed, tuple(InventoryPart))


def unfilled(found: Collected) -> list[Mount]:
    return [replace(mount, free_bytes=0) for mount in found.mounts or ()]


@pytest.mark.parametrize("name", NAMES)
def test_the_tools_of_debian_and_busybox_and_no_ip_at_all_say_the_same(name: str) -> None:
    found = understood(recorded(name))
    assert found.machine == Machine(hostname="web-1")
    assert found.cpu == Cpu(model="Intel(R) Xeon(R) Processor", sockets=1, cores=2, threads=2)
    assert found.memory is not None
    assert found.memory.total_bytes == 24684084 * 1024
    assert unfilled(found) == unfilled(DEBIAN)
    assert found.interfaces == DEBIAN.interfaces


def test_mounts_are_those_with_a_size_each_with_its_type() -> None:
    assert DEBIAN.mounts is not None
    root, blank = DEBIAN.mounts
    assert (root.path, root.device, root.type) == ("/", "/dev/vda1", "tmpfs")
    assert root.size_bytes == 921600 * 1024
    assert blank == Mount(
        path="/srv/with blank",
        device="tmpfs",
        type="tmpfs",
        size_bytes=16384 * 1024,
        free_bytes=16384 * 1024,
    )


def test_interfaces_have_their_addresses_in_order() -> None:
    assert DEBIAN.interfaces == (
        Interface(
            name="eth0",
            mac="02:00:0a:00:00:05",
            addresses=("192.0.2.5", "2001:db8::5", "fe80::aff:fe00:5"),
            mtu=1450,
        ),
        Interface(name="eth1", mac="02:00:0a:00:00:06", addresses=("fe80::aff:fe00:6",), mtu=1500),
        Interface(name="lo", addresses=("127.0.0.1", "::1"), mtu=65536),
    )


def test_a_machine_is_named_by_its_firmware() -> None:
    dmi = "/sys/class/dmi/id"
    text = (
        f"/proc/sys/kernel/hostname:web-1\n{dmi}/sys_vendor:QEMU\n"
        f"{dmi}/product_name:Standard PC: Q35 \n{dmi}/product_serial:\n{dmi}/product_uuid:AB-CD"
    )
    assert collected(machine=text).machine == Machine(
        vendor="QEMU", model="Standard PC: Q35", uuid="ab-cd", hostname="web-1"
    )


def test_a_board_without_firmware_tables_is_named_by_its_device_tree() -> None:
    text = "/proc/sys/kernel/hostname:pi\ndevice-tree:Raspberry Pi 4 Model B Rev 1.4"
    assert collected(machine=text).machine == Machine(
        model="Raspberry Pi 4 Model B Rev 1.4", hostname="pi"
    )


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        ("", Cpu()),
        ("thread\nthread", Cpu(threads=2)),
        (
            "model EPYC\nthread\nsocket 0\ncore 0\nthread\nsocket 0\ncore 0\n"
            "thread\nsocket 1\ncore 0\nthread\nsocket 1\ncore 0",
            Cpu(model="EPYC", sockets=2, cores=2, threads=4),
        ),
        ("thread\nsocket 0\nthread\nsocket 1", Cpu(sockets=2, threads=2)),
    ],
)
def test_cores_and_sockets_are_counted_where_the_kernel_tells_them(text: str, cpu: Cpu) -> None:
    assert collected(cpu=text).cpu == cpu


def test_an_old_kernel_does_not_tell_what_memory_is_available() -> None:
    assert collected(memory="MemTotal:  1000 kB").memory == Memory(total_bytes=1024000)
    assert collected(memory="").memory is None


def test_free_space_below_the_reserve_is_none_and_what_has_no_size_is_left_out() -> None:
    table = "head\n/dev/sda1 1000 990 -10 101% /\nnone 0 0 0 - /run/x\ntmpfs 5 0 5 0% /tmp"
    found = collected(mounted="/dev/sda1 / ext4 rw 0 0", sizes=table).mounts
    assert found == (
        Mount(path="/", device="/dev/sda1", type="ext4", size_bytes=1024000, free_bytes=0),
        Mount(path="/tmp", device="tmpfs", type="", size_bytes=5120, free_bytes=5120),
    )


def test_of_two_mounts_on_one_path_the_upper_counts() -> None:
    table = "head\na 1 0 1 0% /x\nb 2 0 2 0% /x"
    mounted = "a /x ext4 rw 0 0\nb /x xfs rw 0 0"
    found = collected(mounted=mounted, sizes=table).mounts
    assert found == (Mount(path="/x", device="b", type="xfs", size_bytes=2048, free_bytes=2048),)


def test_a_host_that_hides_everything_leaves_it_unknown() -> None:
    found = collected(
        machine="", cpu="", memory="", mounted="", sizes="", interfaces="", addresses=""
    )
    assert found == Collected(machine=Machine(), cpu=Cpu())


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("2: eth0    inet 192.0.2.7/24 brd 192.0.2.255 scope global eth0", "192.0.2.7"),
        ("2: eth0    inet 192.0.2.7 peer 192.0.2.8/32 scope global eth0", "192.0.2.7"),
        ("2: eth0@if5    inet6 2001:db8:0::1/64 scope global ", "2001:db8::1"),
    ],
)
def test_an_address_of_ip_is_known_without_its_prefix(line: str, address: str) -> None:
    found = collected(addresses=f"ip\n{line}").interfaces
    assert found is not None
    assert found[0].addresses == (address,)


def test_the_lines_that_busybox_shows_of_links_are_left_out() -> None:
    text = "ip\n2: eth0: <BROADCAST,UP,LOWER_UP> mtu 1450 qdisc noqueue \n2: eth0    link/ether"
    found = collected(addresses=text).interfaces
    assert found is not None
    assert found[0].addresses == ()


LOCAL = "local\nLocal:\n   |-- 192.0.2.7\n      /32 host LOCAL"


@pytest.mark.parametrize(
    ("routes", "holders"),
    [
        (["eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0"], ["eth0"]),
        (
            [
                "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0",
                "eth1 000000C0 00000000 0001 0 0 0 0000FFFF 0 0 0",
            ],
            ["eth0"],
        ),
        (
            [
                "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0",
                "eth1 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0",
            ],
            [],
        ),
        (["eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0"], []),
        (["eth0 000200C0 010200C0 0003 0 0 0 00FFFFFF 0 0 0"], []),
        ([], []),
    ],
)
def test_without_ip_an_address_is_that_of_the_only_interface_in_its_network(
    routes: list[str], holders: list[str]
) -> None:
    text = "\n".join(("routes", "Iface Destination", *routes, LOCAL))
    found = collected(addresses=text).interfaces
    assert found is not None
    assert [one.name for one in found if "192.0.2.7" in one.addresses] == holders


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("machine", "nonsense"),
        ("machine", "/etc/shadow:root"),
        ("cpu", "thread 1"),
        ("cpu", "socket one"),
        ("memory", "MemTotal: 1 MB"),
        ("mounted", "/dev/sda1 / ext4"),
        ("sizes", "head\nnonsense"),
        ("sizes", f"head\na{' 1' * 6000}% /"),
        ("interfaces", "/sys/class/net/eth0/mtu:large"),
        ("addresses", "nonsense"),
        ("addresses", "ip\nnonsense"),
        ("addresses", "ip\n2: eth0    inet 1.2.3/8 scope global"),
        ("addresses", "routes\neth0 xyz"),
        ("addresses", "routes\neth0 000200C0 00000000 0001 0 0 0 00FF00FF 0 0 0"),
        ("addresses", "routes\nlocal\n|-- 1.2.3"),
        ("addresses", "routes\nlocal\ninet6\nnonsense"),
    ],
)
def test_nonsense_is_refused_and_its_part_is_named(part: str, text: str) -> None:
    with pytest.raises(ParseFailed) as caught:
        collected(**{part: text})
    assert caught.value.part == part


def test_only_the_wanted_parts_are_asked_and_expected() -> None:
    assert "/proc/mounts" not in collector_lines((InventoryPart.NETWORK,))
    assert collector_lines((InventoryPart.PACKAGES, InventoryPart.CONTAINERS)) == ""
    assert parse_collected({}, (InventoryPart.PACKAGES,)) == Collected()
    with pytest.raises(PartMissing, match="mounted"):
        parse_collected({}, (InventoryPart.MOUNTS,))
