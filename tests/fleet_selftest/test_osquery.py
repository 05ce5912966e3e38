"""The stand-in for osqueryi keeps osquery's rules of output and tells of the host that it runs on."""

import json
from shlex import quote

import pytest

from tests.fleet import Fleet, Host

pytestmark = pytest.mark.fleet

TABLES = (
    "os_version",
    "system_info",
    "kernel_info",
    "uptime",
    "memory_info",
    "cpu_info",
    "mounts",
    "interface_addresses",
    "interface_details",
    "deb_packages",
    "rpm_packages",
    "docker_containers",
    "docker_images",
)


def rows(host: Host, statements: str) -> list[dict[str, str]]:
    answer = json.loads(host.output(f"osqueryi --json {quote(statements)}"))
    assert isinstance(answer, list)
    return answer


@pytest.fixture
def host(rpm_fleet: Fleet) -> Host:
    return rpm_fleet["osquery"]


@pytest.mark.parametrize("table", TABLES)
def test_values_are_strings_and_columns_are_sorted(host: Host, table: str) -> None:
    found = rows(host, f"select * from {table}")
    assert found or table in ("rpm_packages", "docker_containers", "docker_images")
    for row in found:
        assert all(isinstance(value, str) for value in row.values())
        assert list(row) == sorted(row)


def test_output_has_a_row_per_line_and_an_empty_result_an_empty_line(host: Host) -> None:
    answer = host.run("""osqueryi --json 'select 2 as b, NULL as a union select "x", "é/\\"'""")
    assert answer.stdout == '[\n  {"a":"","b":"2"},\n  {"a":"é/\\\\","b":"x"}\n]\n'
    assert host.run("osqueryi --json 'select 1 where 0'").stdout == "[\n\n]\n"


def test_statements_of_the_argument_share_an_array_and_those_of_the_input_do_not(
    host: Host,
) -> None:
    assert rows(host, "select 1 as a; select 2 as b;") == [{"a": "1"}, {"b": "2"}]
    piped = host.run("osqueryi --json", input="select 1 as a;\nselect 2 as b;\n")
    assert piped.stdout == '[\n  {"a":"1"}\n]\n[\n  {"b":"2"}\n]\n'


def test_unknown_table_is_an_error_after_what_came_before_it(host: Host) -> None:
    answer = host.run("osqueryi --json 'select 1 as a; select * from nosuch; select 2 as b'")
    assert answer.returncode == 1
    assert answer.stdout == '[\n  {"a":"1"}\n]\n'
    assert answer.stderr == "Error: no such table: nosuch\n"


def test_numbers_compare_as_numbers(host: Host) -> None:
    query = "select count(*) as n from memory_info where memory_total > 99 and swap_total >= 0"
    assert rows(host, query) == [{"n": "1"}]


def test_tables_tell_of_this_host(rpm_fleet: Fleet, host: Host) -> None:
    package = "name, version from {} where name = 'tb-simple'"
    assert rows(host, f"select {package.format('deb_packages')}") == [
        {"name": "tb-simple", "version": "1.0-1"}
    ]
    dnf = rpm_fleet["osquery-dnf"]
    assert rows(dnf, f"select release, {package.format('rpm_packages')}") == [
        {"name": "tb-simple", "release": "1", "version": "1.0"}
    ]
    assert rows(dnf, "select * from deb_packages") == []
    assert rows(dnf, "select platform, major from os_version") == [
        {"major": "40", "platform": "fedora"}
    ]
    address = "address, mask from interface_addresses where interface = 'eth0' limit 1"
    assert rows(host, f"select {address}") == [{"address": host.address, "mask": "255.255.252.0"}]
    assert rows(host, "select hostname from system_info") == [{"hostname": "osquery"}]
    assert rows(host, "select type from mounts where path = '/'") == [{"type": "overlay"}]


def test_host_has_no_stand_in_unless_it_is_asked_for(rpm_fleet: Fleet) -> None:
    assert rpm_fleet["tiny-dnf"].run("command -v osqueryi").stdout == ""
