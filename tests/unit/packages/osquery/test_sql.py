"""Raw queries: what is let through, what is refused, and what comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.packages.errors import PackageCommandFailed, ParseFailed
from tendhost.server.packages.osquery import parse_rows, run_command
from tendhost.server.packages.osquery_sql import (
    MAX_SQL_LENGTH,
    REFUSED_FUNCTIONS,
    REFUSED_TABLES,
    SqlRefused,
    checked_sql,
)
from tests.unit.packages.osquery.recordings import recorded


@pytest.mark.parametrize(
    ("sql", "asked"),
    [
        ("select 1", "select 1"),
        ("SELECT/**/1;", "SELECT 1"),
        ("-- all of it\nselect *\nfrom  users -- ; drop\n ;; ", "select * from users"),
        ("select 1 /* no end", "select 1"),
        ("select ';', '--', '/*', 'it''s'", "select ';', '--', '/*', 'it''s'"),
        ('select "a;b", [c;d], `e;f` from x', 'select "a;b", [c;d], `e;f` from x'),
        ("with a as (select 1) select * from a", "with a as (select 1) select * from a"),
        ("explain select 1", "explain select 1"),
        ("EXPLAIN QUERY PLAN SELECT 1", "EXPLAIN QUERY PLAN SELECT 1"),
        ("pragma table_info( users );", "pragma table_info( users )"),
        ("select replace(name, 'a', 'b') from users", "select replace(name, 'a', 'b') from users"),
        ("select release from rpm_packages", "select release from rpm_packages"),
    ],
)
def test_one_statement_that_looks_is_asked_without_comments(sql: str, asked: str) -> None:
    assert checked_sql(sql) == asked


@pytest.mark.parametrize(
    "where",
    [
        "name = 'curl'",
        "name in ('wget', 'curl')",
        "name like 'curl'",
        "name like 'curl%'",
        "instr(name, 'curl') > 0",
        "'curl' = name",
        "case name when 'x' then 'curl' else 'curl' end = 'curl'",
    ],
)
def test_a_refused_name_may_be_a_text(where: str) -> None:
    assert checked_sql(f"select * from deb_packages where {where}").endswith(where)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "-- select 1",
        ".tables",
        "values (1)",
        "insert into x values (1)",
        "update x set a = 1",
        "delete from x",
        "attach 'x' as y",
        "create table x (a)",
        "pragma journal_mode",
        "pragma table_info(a) b",
        "pragma table_info('curl')",
        "explain delete from x",
        "explain",
        "explain query plan",
        "explain explain select 1",
        "with a as (select 1) insert into x select * from a",
        "with a as (select 1) delete from x",
        "with a as (select 1) update x set y = 1",
        "with a as (select 1) replace into x select * from a",
        "select 1; select 2",
        "select 1 /* */; .quit",
        "select 1;\n.quit",
        "select 'a",
        'select "a',
        "select `a",
        "select [a",
        "select 1\x00",
        "select '\x1e'",
        "select '\ud800'",
        "'select' 1",
        "--\rselect 1",
    ],
)
def test_everything_else_is_refused(sql: str) -> None:
    with pytest.raises(SqlRefused):
        checked_sql(sql)


def test_the_length_of_a_query_has_a_bound() -> None:
    longest = f"select '{'a' * (MAX_SQL_LENGTH - 9)}'"
    assert checked_sql(longest) == longest
    with pytest.raises(SqlRefused, match="longer than 10000 characters"):
        checked_sql(longest + " ")


@pytest.mark.parametrize("table", REFUSED_TABLES)
@pytest.mark.parametrize(
    "sql",
    [
        "select * from {}",
        "select * from main.{}",
        'select * from "{}"',
        "select * from `{}`",
        "select * from [{}]",
        "select * from '{}'",
        "select * from main.'{}'",
        "select * from users, '{}'",
        "select * from users join '{}'",
        "select * from ('{}')",
        "select * from ((users, '{}'))",
        "select * from users where 1 in '{}'",
        "select * from users where 1 in (select 1 from users, '{}')",
        "select max((select 1 from users, '{}'))",
        "select * from/**/{}",
        "with a as (select * from {}) select * from a",
        "select 1 union select 1 from {}",
        "explain select * from {}",
    ],
)
def test_a_table_that_does_more_than_look_is_refused_however_it_is_named(
    table: str, sql: str
) -> None:
    for name in (table, table.upper()):
        with pytest.raises(SqlRefused) as caught:
            checked_sql(sql.format(name))
        assert REFUSED_TABLES[table] in str(caught.value)


@pytest.mark.parametrize("function", REFUSED_FUNCTIONS)
def test_a_function_that_does_more_than_look_is_refused(function: str) -> None:
    with pytest.raises(SqlRefused, match=REFUSED_FUNCTIONS[function]):
        checked_sql(f"select {function}(path) from file where path = '/etc/passwd'")


@given(st.text(alphabet="select'\"`[]()-/*;, \nfromcurlin=", max_size=60))
def test_what_is_let_through_is_let_through_again_unchanged(tail: str) -> None:
    try:
        once = checked_sql(f"select {tail}")
    except SqlRefused:
        return
    assert checked_sql(once) == once


def test_rows_come_back_as_they_are() -> None:
    assert parse_rows(recorded("rows")) == (
        {"name": "libacl1", "version": "2.3.1-3"},
        {"name": "libapt-pkg6.0", "version": "2.6.2"},
        {"name": "libattr1", "version": "1:2.5.1-4"},
    )


def test_a_query_that_fails_says_why() -> None:
    with pytest.raises(PackageCommandFailed, match="no such table: nonsense"):
        parse_rows(recorded("rows-refused"))


def test_a_host_without_osqueryi_says_so() -> None:
    output = b"\n\x1etendhost rows stderr\n\n\x1etendhost rows 127\n\n\x1etendhost end\n"
    with pytest.raises(PackageCommandFailed, match="osqueryi is not on the host"):
        parse_rows(output)


def test_an_osqueryi_that_was_killed_without_a_word_is_not_called_missing() -> None:
    output = b"\n\x1etendhost rows stderr\n\n\x1etendhost rows 137\n\n\x1etendhost end\n"
    with pytest.raises(PackageCommandFailed, match=r"exit 137\): no error output"):
        parse_rows(output)


@pytest.mark.parametrize("body", [b"", b"[\n\n]\n[\n\n]", b"[\n  {}", b"{}"])
def test_rows_that_are_not_one_array_are_refused(body: bytes) -> None:
    output = b"\n\x1etendhost rows stderr\n\n\x1etendhost rows 0\n" + body + b"\n\x1etendhost end\n"
    with pytest.raises(ParseFailed):
        parse_rows(output)


def test_a_query_is_one_argument_of_the_shell() -> None:
    assert "osquery 'select '\"'\"'$(reboot)'\"'\"''; }" in run_command("select '$(reboot)';")
