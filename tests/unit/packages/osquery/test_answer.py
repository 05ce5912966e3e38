"""What osquery's tables mean, and what they leave to others."""

from datetime import timedelta

import pytest

from tendhost.server.domain.inventory.hardware import (
    NATIVE,
    ContainerRow,
    Cpu,
    ImageRow,
    Interface,
    InventoryPart,
    Machine,
    Memory,
    Mount,
)
from tendhost.server.domain.inventory.inventory import SystemFacts
from tendhost.server.packages.collector import Collected
from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.osquery import OsqueryAnswer, combine, osquery_lines, parse_answer
from tendhost.server.packages.script import Part
from tests.unit.packages.osquery.recordings import answered, printed, recorded, understood

WHOLE = understood(recorded("whole"))
ALL_BUT_PENDING = frozenset(InventoryPart) - {InventoryPart.PENDING}


def rpm(
    name: str, *, epoch: str = "", arch: str = "x86_64", version: str = "1.0"
) -> dict[str, str]:
    return {"name": name, "epoch": epoch, "version": version, "release": "2.fc40", "arch": arch}


def deb(name: str, *, arch: str = "amd64", status: str = "install ok installed") -> dict[str, str]:
    return {"name": name, "version": "1.0-1", "arch": arch, "status": status}


def mount(**changed: str) -> dict[str, str]:
    row = {"path": "/", "device": "/dev/sda1", "type": "ext4"}
    return row | {"blocks_size": "4096", "blocks": "10", "blocks_available": "5"} | changed


def test_an_osquery_that_knows_every_table_answers_every_part_but_the_pending_updates() -> None:
    assert WHOLE.version == "5.12.1"
    assert WHOLE.parts == ALL_BUT_PENDING
    assert WHOLE.failed == {}


def test_of_the_system_it_tells_kernel_architecture_and_uptime() -> None:
    assert WHOLE.system == SystemFacts(
        kernel="6.1.0-38-amd64",
        architecture="x86_64",
        uptime=timedelta(days=1, minutes=1, seconds=1),
    )


def test_the_packages_are_those_that_dpkg_has_installed_held_or_broken() -> None:
    assert WHOLE.deb_packages == (
        ("adduser", "3.134"),
        ("broken", "1.0"),
        ("dpkg", "1.21.22"),
        ("held", "1:2.0-1"),
        ("libc6", "2.36-9+deb12u10"),
        ("libc6:i386", "2.36-9+deb12u10"),
    )
    assert WHOLE.rpm_packages is None


def test_the_hardware_is_named_by_firmware_processor_and_kernel() -> None:
    assert WHOLE.machine == Machine(
        vendor="Example Inc.", model="Server 740", serial="ABC1234", hostname="web-1"
    )
    model = "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz"
    assert WHOLE.cpu == Cpu(model=model, sockets=2, cores=32, threads=64)
    assert WHOLE.memory == Memory(total_bytes=134922063872, available_bytes=100000000000)


def test_mounts_have_a_size_and_the_upper_one_of_two_counts() -> None:
    nfs = "server.example.org:/x"
    assert WHOLE.mounts == (
        Mount(
            path="/",
            device="/dev/sda2",
            type="ext4",
            size_bytes=61000000 * 4096,
            free_bytes=30000000 * 4096,
        ),
        Mount(
            path="/boot",
            device="/dev/sda1",
            type="vfat",
            size_bytes=1000000 * 512,
            free_bytes=900000 * 512,
        ),
        Mount(path="/mnt/x", device=nfs, type="nfs4", size_bytes=1000 << 20, free_bytes=10 << 20),
    )


def test_interfaces_have_their_addresses_without_scope() -> None:
    assert WHOLE.interfaces == (
        Interface(
            name="eno1",
            mac="02:00:0a:00:00:05",
            addresses=("192.0.2.5", "2001:db8::5", "fe80::aff:fe00:5"),
            mtu=1500,
        ),
        Interface(name="lo", addresses=("127.0.0.1", "::1"), mtu=65536),
        Interface(name="wg0", mtu=1420),
    )


def test_containers_lose_the_slash_and_images_the_tag_that_is_none() -> None:
    assert WHOLE.containers == (
        ContainerRow(
            id="77aa" * 16,
            name="old",
            image="sha256:12ab",
            state="exited",
            status="Exited (0) 3 days ago",
        ),
        ContainerRow(
            id="4d1e" * 16,
            name="web1",
            image="nginx:1.27",
            state="running",
            status="Up 2 hours (healthy)",
        ),
    )
    assert WHOLE.images == (
        ImageRow(id="12ab" * 16, tags=(), size_bytes=72815000),
        ImageRow(
            id="99cc" * 16,
            tags=("nginx:1.27", "registry.example.org/nginx:stable"),
            size_bytes=192000000,
        ),
    )


def test_tables_that_are_not_there_leave_their_parts_to_the_native_collector() -> None:
    stand_in = understood(recorded("debian12"))
    lacking = ("cpu_info", "memory_info", "mounts", "interface_details", "interface_addresses")
    assert stand_in.failed == {table: f"no such table: {table}" for table in lacking}
    assert stand_in.parts == {
        InventoryPart.SYSTEM,
        InventoryPart.PACKAGES,
        InventoryPart.CONTAINERS,
    }
    assert stand_in.machine == Machine(hostname="web-1")
    assert stand_in.deb_packages is not None
    assert ("dpkg", "1.21.23") in stand_in.deb_packages


def test_an_osqueryi_that_was_killed_has_answered_what_is_whole() -> None:
    output = printed([{"version": "5.12.1"}], [{"arch": "x86_64"}], [{"version": "6.1"}])
    asked = (InventoryPart.SYSTEM, InventoryPart.MOUNTS)
    part = Part(137, output + '\n[\n  {"total_sec', "Killed")
    answer = parse_answer({"osquery": part}, asked, architecture="x86_64")
    assert answer is not None
    assert answer.failed == {"uptime": "Killed", "mounts": "Killed"}
    assert answer.parts == frozenset()


def test_an_osqueryi_that_does_not_start_has_answered_nothing() -> None:
    words = "osqueryi: error while loading shared libraries"
    part = Part(127, "", words)
    answer = parse_answer({"osquery": part}, (InventoryPart.MOUNTS,), architecture="x86_64")
    assert answer == OsqueryAnswer(failed={"osquery_info": words, "mounts": words})


def test_a_host_without_osqueryi_has_no_answer() -> None:
    assert parse_answer({}, (InventoryPart.MOUNTS,), architecture="x86_64") is None


def test_an_empty_table_after_a_failure_without_words_is_no_answer() -> None:
    answer = answered(InventoryPart.CONTAINERS, [], [], status=1)
    assert answer.failed.keys() == {"docker_containers", "docker_images"}
    assert answered(InventoryPart.CONTAINERS, [], []).containers == ()


@pytest.mark.parametrize(
    ("part", "tables"),
    [
        (InventoryPart.SYSTEM, ([{"arch": "x86_64"}], [{"version": "6.1"}], [])),
        (InventoryPart.PACKAGES, ([], [])),
        (InventoryPart.HARDWARE, ([], [], [{"memory_total": "1"}])),
        (InventoryPart.HARDWARE, ([{"hostname": "a"}], [], [{}])),
        (InventoryPart.MOUNTS, ([],)),
        (InventoryPart.NETWORK, ([], [])),
    ],
)
def test_a_part_whose_table_is_empty_is_not_answered(
    part: InventoryPart, tables: tuple[list[dict[str, str]], ...]
) -> None:
    assert answered(part, *tables).parts == frozenset()


@pytest.mark.parametrize(
    ("row", "package"),
    [
        (rpm("bash"), ("bash", "1.0-2.fc40")),
        (rpm("bash", epoch="0"), ("bash", "1.0-2.fc40")),
        (rpm("shadow-utils", epoch="2"), ("shadow-utils", "2:1.0-2.fc40")),
        (rpm("tzdata", arch="noarch"), ("tzdata", "1.0-2.fc40")),
        (rpm("glibc", arch="i686"), ("glibc.i686", "1.0-2.fc40")),
        (rpm("gpg-pubkey", arch=""), ("gpg-pubkey", "1.0-2.fc40")),
    ],
)
def test_packages_of_rpm_are_named_and_versioned_as_rpm_does(
    row: dict[str, str], package: tuple[str, str]
) -> None:
    assert answered(InventoryPart.PACKAGES, [], [row]).rpm_packages == (package,)


def test_versions_of_one_package_are_in_the_order_of_rpm() -> None:
    rows = [{**rpm("kernel"), "version": version} for version in ("6.8.10", "6.8.9", "6.8.11")]
    packages = answered(InventoryPart.PACKAGES, [], rows).rpm_packages
    versions = [version.partition("-")[0] for _, version in packages or ()]
    assert versions == ["6.8.9", "6.8.10", "6.8.11"]


def test_the_native_architecture_is_that_of_the_package_manager_itself() -> None:
    rows = [rpm("rpm", arch="i686"), rpm("bash", arch="i686"), rpm("bash")]
    names = [name for name, _ in answered(InventoryPart.PACKAGES, [], rows).rpm_packages or ()]
    assert names == ["bash", "bash.x86_64", "rpm"]


def test_packages_whose_native_architecture_is_not_known_are_left_to_the_package_manager() -> None:
    assert answered(InventoryPart.PACKAGES, [deb("bash")], []).deb_packages is None
    unknown = answered(InventoryPart.PACKAGES, [], [rpm("bash")], architecture="")
    assert unknown.rpm_packages is None


@pytest.mark.parametrize(
    ("row", "cpu"),
    [
        ({"cpu_brand": "X", "cpu_physical_cores": "-1"}, Cpu(model="X")),
        ({"cpu_brand": "", "cpu_logical_cores": "4"}, Cpu(model="Neoverse-N1", threads=4)),
        ({"cpu_sockets": "0"}, Cpu(model="Neoverse-N1")),
    ],
)
def test_what_osquery_does_not_know_of_the_processor_stays_unknown(
    row: dict[str, str], cpu: Cpu
) -> None:
    model = [{"model": "Neoverse-N1"}]
    assert answered(InventoryPart.HARDWARE, [row], model, [{"memory_total": "1"}]).cpu == cpu


def test_two_models_of_processors_are_no_name_for_both() -> None:
    models = [{"model": "A"}, {"model": "B"}]
    found = answered(InventoryPart.HARDWARE, [{"hostname": "a"}], models, [{"memory_total": "1"}])
    assert found.cpu == Cpu()


@pytest.mark.parametrize(
    ("part", "tables"),
    [
        (InventoryPart.PACKAGES, ([deb("a", status="install ok")], [])),
        (InventoryPart.PACKAGES, ([deb("a", status="install ok upgraded")], [])),
        (InventoryPart.PACKAGES, ([deb("")], [])),
        (InventoryPart.PACKAGES, ([{"name": "a"}], [])),
        (InventoryPart.PACKAGES, ([], [rpm("a", epoch="none")])),
        (InventoryPart.PACKAGES, ([], [rpm("a", version="")])),
        (InventoryPart.MOUNTS, ([mount(blocks="many")],)),
        (InventoryPart.MOUNTS, ([mount(blocks="-5")],)),
        (InventoryPart.MOUNTS, ([mount(blocks="1" * 20)],)),
        (
            InventoryPart.NETWORK,
            (
                [{"interface": "a", "mac": "", "mtu": "1"}],
                [{"interface": "a", "address": "192.0.2.256"}],
            ),
        ),
        (InventoryPart.CONTAINERS, ([], [{"id": "a", "tags": "b", "size_bytes": ""}])),
        (InventoryPart.MOUNTS, ([mount()], [mount()])),
        (InventoryPart.MOUNTS, ()),
    ],
)
def test_rows_that_cannot_be_osquerys_are_refused(
    part: InventoryPart, tables: tuple[list[dict[str, str]], ...]
) -> None:
    with pytest.raises(ParseFailed) as caught:
        answered(part, *tables)
    assert caught.value.part == "osquery"


@pytest.mark.parametrize(
    "output",
    [
        "nonsense",
        "[\n",
        '[\n  {"version":5}\n]',
        '[\n  ["version"]\n]',
        "[\n\n]\nmore",
        "\n]",
        "{}",
    ],
)
def test_output_that_is_no_array_of_rows_is_refused(output: str) -> None:
    with pytest.raises(ParseFailed):
        parse_answer({"osquery": Part(0, output, "")}, (), architecture="x86_64")


def test_a_failure_in_a_line_that_was_not_asked_is_refused() -> None:
    with pytest.raises(ParseFailed):
        answered(
            InventoryPart.MOUNTS, [mount()], status=1, stderr="Error: near line 3: no such table"
        )


def test_osquery_goes_before_the_native_collector_part_by_part() -> None:
    native = Collected(
        machine=Machine(hostname="web-1", uuid="ab"),
        cpu=Cpu(threads=1),
        memory=Memory(total_bytes=1),
        mounts=(Mount(path="/", device="a", type="b", size_bytes=1, free_bytes=1),),
        interfaces=(Interface(name="lo"),),
    )
    answer = OsqueryAnswer(
        version="5.12.1",
        machine=WHOLE.machine,
        cpu=WHOLE.cpu,
        memory=WHOLE.memory,
        interfaces=WHOLE.interfaces,
    )
    best, source = combine(answer, native, tuple(InventoryPart))
    assert best.cpu == WHOLE.cpu
    assert best.mounts == native.mounts
    assert best.interfaces == WHOLE.interfaces
    assert best.machine is not None
    assert (best.machine.serial, best.machine.uuid) == ("ABC1234", "ab")
    assert source == {
        InventoryPart.SYSTEM: NATIVE,
        InventoryPart.PACKAGES: NATIVE,
        InventoryPart.PENDING: NATIVE,
        InventoryPart.HARDWARE: "osquery 5.12.1",
        InventoryPart.MOUNTS: NATIVE,
        InventoryPart.NETWORK: "osquery 5.12.1",
    }


def test_what_nobody_could_answer_has_no_source() -> None:
    best, source = combine(None, Collected(), (InventoryPart.MOUNTS, InventoryPart.PENDING))
    assert best == Collected()
    assert source == {InventoryPart.PENDING: NATIVE}


def test_only_the_tables_of_the_wanted_parts_are_asked() -> None:
    lines = osquery_lines((InventoryPart.MOUNTS,))
    assert "from mounts;" in lines
    assert "deb_packages" not in lines
    assert "env_variables" not in osquery_lines(tuple(InventoryPart))
