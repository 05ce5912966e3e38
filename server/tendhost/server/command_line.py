"""The command line of `tendhostd`: its options and its commands."""

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any


def parser() -> argparse.ArgumentParser:
    """Parses the command line of `tendhostd`; a setting that is not given is None."""
    parser = argparse.ArgumentParser(
        prog="tendhostd",
        description="The tendhost server: keeps a fleet of Linux hosts patched over SSH.",
        epilog="Every option can also be set in the configuration file, or in the environment as TENDHOST_<NAME>.",
    )
    parser.add_argument("--version", action="version", version=f"tendhostd {version('tendhost')}")
    _add_place(parser)
    parser.add_argument(
        "--listen",
        metavar="ADDRESSES",
        help="addresses, separated by commas: unix:/path, HOST:PORT, tls://HOST:PORT or mtls://HOST:PORT"
        " (a unix socket of your own, and 127.0.0.1:50051)",
    )
    parser.add_argument(
        "--auth", metavar="MODE", help="required, or none: no call needs a credential (required)"
    )
    parser.add_argument(
        "--log-level",
        metavar="LEVEL",
        help="lowest level to log: debug, info, warning or error (info)",
    )
    parser.add_argument(
        "--operations-at-once", metavar="N", help="number of concurrent operations (64)"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    backing_up = commands.add_parser(
        "backup", help="copy the database, with or without a running server"
    )
    backing_up.add_argument("file", type=Path, metavar="FILE", help="path of the copy")
    backing_up.add_argument("--force", action="store_true", help="replace FILE if it exists")
    restoring = commands.add_parser(
        "restore", help="replace the database with a copy, while no server runs"
    )
    restoring.add_argument("file", type=Path, metavar="FILE", help="path of the copy")
    moving = commands.add_parser(
        "migrate", help="move everything to another database, while no server runs"
    )
    moving.add_argument(
        "--to",
        required=True,
        metavar="DATABASE",
        help="an empty PostgreSQL database as postgresql://USER@HOST:PORT/NAME, or the path of a new file",
    )
    moving.add_argument(
        "--from",
        dest="source",
        default="",
        metavar="DATABASE",
        help="where everything is now (the database that the settings name)",
    )
    restored = commands.add_parser(
        "restored",
        help="say that the PostgreSQL database was restored from a backup, before a server starts on it",
    )
    checking = commands.add_parser("check-config", help="validate the configuration")
    testing = commands.add_parser(
        "notify-test", help="send a test message to a notification target"
    )
    testing.add_argument(
        "target", metavar="NAME", help="name of the target in the configuration file"
    )
    for command in (
        backing_up,
        restoring,
        moving,
        restored,
        checking,
        testing,
        *_add_tls(commands),
        *_add_audit(commands),
    ):
        _add_place(command, default=argparse.SUPPRESS)
    return parser


def _add_tls(commands: Any) -> list[argparse.ArgumentParser]:
    tls = commands.add_parser("tls", help="make and show certificates")
    tls_commands = tls.add_subparsers(
        dest="tls_command", metavar="COMMAND", title="commands", required=True
    )
    init = tls_commands.add_parser(
        "init",
        help="make a private CA, unless there is one, and a server certificate, or renew the server certificate",
    )
    init.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="name or IP address by which clients call the server (those of the certificate that is renewed)",
    )
    client = tls_commands.add_parser(
        "client", help="issue a client certificate, for mtls:// addresses"
    )
    client.add_argument("names", nargs=1, metavar="NAME", help="name of the client")
    show = tls_commands.add_parser(
        "show", help="show the certificates and when they expire; exit status 1 if one has"
    )
    return [tls, init, client, show]


def _add_audit(commands: Any) -> list[argparse.ArgumentParser]:
    audit = commands.add_parser("audit", help="verify and export the audit log")
    audit_commands = audit.add_subparsers(
        dest="audit_command", metavar="COMMAND", title="commands", required=True
    )
    verify = audit_commands.add_parser(
        "verify",
        help="check that no record was altered or removed, in the database, or in a file and the database",
    )
    verify.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="an export, or the file of an audit sink"
    )
    verify.add_argument(
        "--key", default="", metavar="KEY", help="public key with which the export must be signed"
    )
    export = audit_commands.add_parser(
        "export", help="write all records as JSON lines with a signed head"
    )
    export.add_argument("file", type=Path, metavar="FILE", help="path of the export")
    show = audit_commands.add_parser(
        "show-key", help="show the public key with which exports are signed"
    )
    return [audit, verify, export, show]


def _add_place(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """What says where the database is; before a command or after it."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=default, help="TOML file with settings"
    )
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        default=default,
        help="folder of the database ($XDG_STATE_HOME/tendhost)",
    )
    parser.add_argument(
        "--store",
        metavar="ADDRESS",
        default=default,
        help="address of a PostgreSQL database: postgresql://USER@HOST/DATABASE (SQLite in the state folder)",
    )
