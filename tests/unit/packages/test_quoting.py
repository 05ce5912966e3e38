"""One door to a shell: whatever stands in a script is one word there, in every function that makes a script."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import textwrap
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server import packages, remote
from tendhost.server.domain.shell_words import quoted, quoted_words
from tendhost.server.packages.detection import PACKAGE_MANAGERS

SIGN = ">canary"
HOSTILE = f"--x';:{SIGN};\"$(:{SIGN})`:{SIGN}`\\--*?{{}}&|:{SIGN}#"
"""Does something wherever it is no word of its own, and holds no blank, so that lines are not put into one."""
SPECIAL: Mapping[str, tuple[str, ...]] = {
    # A statement of SQL that is accepted: the hostile text is a comment.
    "sql": (f"SELECT 1 -- {HOSTILE}",),
    # The name of a function of the script.
    "asked": ("as_root",),
    "mark": ("a-word",),
    # Whole lines and commands, put together by those who call.
    "lines": ("part a true",),
    "command": ("true",),
    "script": ("true",),
    "further": ("true",),
    "locked": ("75",),
}
_SPAN = timedelta(seconds=7)
_ENDINGS = ("_script", "_command", "_commands", "_lines", "_words", "_job", "command_line")


def _modules() -> Iterator[types.ModuleType]:
    for package in (packages, remote):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def _calls_a_builder(function: Callable[..., Any]) -> bool:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    names = {
        n.func.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    return bool(names & {"framed_script", "ChangingCommand", "quoted", "quoted_words"})


def _builders() -> dict[str, Callable[..., Any]]:
    """Every function that makes a script or a part of one, by its name and the look of its body."""
    found: dict[str, Callable[..., Any]] = {}
    for module in _modules():
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                public = not name.startswith("_") and name.endswith(_ENDINGS)
                if public or _calls_a_builder(function):
                    found[f"{module.__name__.partition('server.')[2]}.{name}"] = function
    for manager in PACKAGE_MANAGERS:
        for name in dir(manager):
            if not name.startswith("_") and name.endswith(_ENDINGS):
                found[f"{manager.name}.{name}"] = getattr(manager, name)
    return found


BUILDERS = _builders()


def _values(kind: Any, name: str, variant: int) -> Any:
    """Hostile values of a type, wherever it holds text; `variant` chooses flags and members."""
    if name in SPECIAL and kind in (str, Any):
        return SPECIAL[name][0]
    origin, arguments = get_origin(kind), get_args(kind)
    plain = {
        str: HOSTILE,
        bytes: HOSTILE.encode(),
        bool: variant % 2 == 0,
        int: 7,
        timedelta: _SPAN,
    }
    if kind in plain:
        return plain[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = list(kind)
        return members[variant % len(members)]
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        fields = dataclasses.fields(kind)
        make: Any = kind
        return make(**{f.name: _values(hints[f.name], f.name, variant) for f in fields if f.init})
    if origin in (Union, types.UnionType):
        kinds = [one for one in arguments if one is not type(None)]
        return _values(kinds[0], name, variant)
    if origin is tuple and arguments[1:] != (...,):
        return tuple(_values(one, name, variant) for one in arguments)
    if origin is frozenset:
        return frozenset({_values(arguments[0], name, n) for n in range(variant, variant + 4)})
    if origin in (tuple, Sequence, Iterable, Collection, list):
        return tuple(_values(arguments[0], name, n) for n in (variant, variant + 1))
    if origin is Mapping:
        return {"NAME": _values(arguments[1], name, variant)}
    raise AssertionError(f"no value for {name}: {kind}")


def _texts(made: Any) -> Iterator[str]:
    if isinstance(made, str):
        yield made
    elif isinstance(made, bytes):
        yield made.decode()
    elif isinstance(made, tuple | list):
        for one in made:
            yield from _texts(one)
    elif dataclasses.is_dataclass(made) and not isinstance(made, type):
        for field in dataclasses.fields(made):
            yield from _texts(getattr(made, field.name))


def _made(name: str, variant: int) -> list[str]:
    function = BUILDERS[name]
    hints = get_type_hints(function)
    given: dict[str, Any] = {}
    further: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        value = _values(hints[parameter.name], parameter.name, variant)
        if parameter.kind is parameter.VAR_POSITIONAL:
            further.append(value)
        elif parameter.kind is not parameter.VAR_KEYWORD:
            given[parameter.name] = value
    return list(
        _texts(function(*further, **given) if not further else function(*given.values(), *further))
    )


def _loose(script: str) -> str:
    """The script without the hostile value where it is quoted, also within what is quoted itself."""
    forms = [HOSTILE]
    for _ in range(3):
        forms.append(quoted(forms[-1])[1:-1])
    for form in reversed(forms[1:]):
        script = script.replace(form, "")
    return script


def test_builders__are_found_in_every_folder() -> None:
    folders = {name.partition(".")[2].partition(".")[0] for name in BUILDERS if "." in name}
    assert {"units", "snapshots", "hook_script", "compose", "apt", "zypper", "job"} <= folders
    assert {f"{manager.name}.restore_command" for manager in PACKAGE_MANAGERS} <= BUILDERS.keys()


@pytest.mark.parametrize("name", BUILDERS)
def test_script__holds_hostile_values_as_words_only(name: str) -> None:
    for variant in range(4):
        for script in _made(name, variant):
            assert SIGN not in _loose(script)


@pytest.mark.parametrize("manager", PACKAGE_MANAGERS, ids=lambda manager: manager.name)
def test_script__is_read_by_sh_with_hostile_values_in_it(manager: Any) -> None:
    for method in ("plan_script", "upgrade_command", "restore_command"):
        for variant in range(2):
            (script,) = _made(f"{manager.name}.{method}", variant)
            done = subprocess.run(
                ["sh", "-n"], check=False, input=script, text=True, capture_output=True
            )
            assert done.returncode == 0, done.stderr


def _printed(words: str) -> list[str]:
    script = f"printf '%s\\0' {words}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        min_size=1,
        max_size=5,
    )
)
def test_words__reach_a_program_as_they_are(words: list[str]) -> None:
    assert _printed(quoted_words(words)) == words


@pytest.mark.parametrize(("text", "word"), [("a\0b", "a\ufffdb"), ("\ud800", "\ufffd"), ("", "")])
def test_word__holds_what_a_shell_can_hold(text: str, word: str) -> None:
    assert _printed(quoted(text)) == [word]


def test_text_beside_the_door__would_be_seen() -> None:
    """The oracle itself: a value that is put into a script as it is leaves its sign."""
    assert SIGN in _loose(f"echo {HOSTILE}")
    assert SIGN in _loose(f'echo "{HOSTILE}"')
    assert SIGN in _loose(f"echo '{HOSTILE}'")
    assert SIGN not in _loose(quoted(f"sh -c {quoted(HOSTILE)}"))
