"""What a host says of itself, in the forms that it may take."""

import pytest

from tendhost.server.packages.errors import ParseFailed
from tendhost.server.packages.facts import DiskSpace, HostFacts, parse_facts, parse_os_release
from tendhost.server.packages.script import Part, parse_parts
from tests.unit.packages.recordings import recorded

PARTS = dict(parse_parts(recorded("debian12/preflight"), expected=()))

ID = "0123456789abcdef0123456789abcdef"


def facts(**outputs: str) -> HostFacts:
    return parse_facts(PARTS | {name: Part(0, text, "") for name, text in outputs.items()})


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("ID=debian", "debian"),
        ('ID="debian"', "debian"),
        ("ID='debian'", "debian"),
        (r'ID="a \"b\" \$c \\d \`e"', r'a "b" $c \d `e'),
        (r"ID='a\b'", r"a\b"),
        ('ID=""', ""),
        ("  ID=debian  ", "debian"),
        ("ID=a=b", "a=b"),
    ],
)
def test_os_release_is_quoted_as_in_a_shell(line: str, value: str) -> None:
    assert parse_os_release(f"# a comment\n\n{line}\n") == {"ID": value}


@pytest.mark.parametrize("line", ["", "# ID=x", "no assignment", "1D=x", "=x"])
def test_lines_that_assign_nothing_are_left_out(line: str) -> None:
    assert parse_os_release(line) == {}


def test_a_host_that_hides_its_files_leaves_their_facts_empty() -> None:
    bare = facts(os_release="", boot="", container="", manager="")
    assert bare.system.os_id == ""
    assert bare.system.boot_id == ""
    assert bare.system.uptime is None
    assert bare.init_started == ""
    assert not bare.system.container
    assert bare.ids == ("",)


@pytest.mark.parametrize(
    ("output", "machine_id"),
    [
        (ID, ID),
        (f"{ID}\n{ID[::-1]}", ID),
        (f"uninitialized\n{ID}", ID),
        ("uninitialized", ""),
        ("", ""),
        ("0" * 32, ""),
        (ID.upper(), ""),
        (f"{ID}0", ""),
        (f" {ID}", ""),
        ("x" * 10_000_000, ""),
    ],
)
def test_machine_id__is_32_hexadecimal_digits_or_not_known(output: str, machine_id: str) -> None:
    assert facts(machine_id=output).system.machine_id == machine_id


def test_machine_id__of_a_host_that_was_not_asked_is_not_known() -> None:
    assert "machine_id" not in PARTS
    assert facts().system.machine_id == ""


def test_the_first_process_may_have_any_name() -> None:
    stat = f"1 (a) b (c)) S {' '.join(str(n) for n in range(4, 30))}"
    assert facts(boot=stat).init_started == "22"


@pytest.mark.parametrize(
    ("output", "container"), [("none", False), ("", False), ("lxc", True), ("docker\n", True)]
)
def test_a_container_is_what_says_so(output: str, container: bool) -> None:
    assert facts(container=output).system.container is container


def test_what_is_concluded_of_a_host_comes_with_the_reason() -> None:
    vm = facts(container="none", virtualization="kvm", boot="1 (systemd) S 0")
    assert vm.concluded == (
        "virtual machine (kvm): it has a kernel of its own",
        "init systemd: the name of process 1",
    )
    assert (vm.system.virtualization, vm.system.init) == ("kvm", "systemd")
    lxc = facts(container="lxc", virtualization="lxc", boot="1 (init) S 0")
    assert lxc.concluded[0] == "container (lxc): its kernel is not its own"
    metal = facts(container="none", virtualization="none", boot="")
    assert metal.concluded == ("bare metal: no virtualization is seen",)


def test_disks_are_known_by_path_and_mount() -> None:
    table = (
        "/ /boot\n"
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
        "/dev/vda1 1000 600 400 60% /\n"
        "/dev/disk by name 100 110 -10 110% /boot with a blank\n"
    )
    assert facts(disk=table.rstrip()).disks == (
        DiskSpace(path="/", mount="/", free_bytes=400 * 1024),
        DiskSpace(path="/boot", mount="/boot with a blank", free_bytes=0),
    )


@pytest.mark.parametrize(
    ("part", "text"),
    [("uname", "6.1.0 x86_64"), ("privilege", "root"), ("disk", "/\nFilesystem\nnonsense")],
)
def test_nonsense_is_refused_and_its_part_is_named(part: str, text: str) -> None:
    with pytest.raises(ParseFailed) as caught:
        facts(**{part: text})
    assert caught.value.part == part
