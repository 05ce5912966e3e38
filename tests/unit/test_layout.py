"""The shape of the project: its namespace, its packages, its generated files, its targets."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROOTS = ("protos", "server", "client")
PORTIONS = ("tendhost/v1", "tendhost/server", "tendhost/client")


@pytest.mark.parametrize("root", ROOTS)
def test_namespace_has_no_init(root: str) -> None:
    # One __init__.py here would make the other two portions vanish.
    assert not (ROOT / root / "tendhost" / "__init__.py").exists()
    assert not (ROOT / root / "tendhost" / "__init__.pyi").exists()


def test_all_portions_import_side_by_side() -> None:
    program = "import tendhost.client, tendhost.server, tendhost.v1.host_pb2"
    subprocess.run([sys.executable, "-c", program], check=True, cwd="/")


def test_generated_stubs_are_what_the_contract_generates() -> None:
    check = [sys.executable, "scripts/generate_protos.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The names in the wheel and in the sdist, the sdist's without its top folder and its root."""
    into = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(into)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    (wheel,) = into.glob("*.whl")
    (sdist,) = into.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        paths = [PurePosixPath(name) for name in archive.getnames()]
    return {
        "wheel": set(zipfile.ZipFile(wheel).namelist()),
        "sdist": {str(PurePosixPath(*path.parts[2:])) for path in paths if path.parts[1] in ROOTS},
    }


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_distribution_holds_the_three_portions(built: dict[str, set[str]], kind: str) -> None:
    names = built[kind]
    for portion in PORTIONS:
        assert f"{portion}/py.typed" in names
    assert "buf/validate/validate_pb2.py" in names
    assert "tendhost/v1/host.proto" in names
    assert "tendhost/__init__.py" not in names


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_distribution_holds_every_module(built: dict[str, set[str]], kind: str) -> None:
    sources = {
        str(path.relative_to(ROOT / root)) for root in ROOTS for path in (ROOT / root).rglob("*.py")
    }
    assert sources <= built[kind]


SERVER = ROOT / "server" / "tendhost" / "server"


def independent(name: str) -> set[str]:
    """The modules of the import contract whose name begins with `name`."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (modules,) = (c["modules"] for c in contracts if c["name"].startswith(name))
    return {module.rpartition(".")[2] for module in modules}


def test_import_contract__holds_for_every_step() -> None:
    # The rollback undoes other steps, and hence imports them.
    files = (SERVER / "engine" / "steps").glob("*.py")
    steps = {file.stem for file in files if file.read_text().startswith('"""The step')}
    assert steps - {"__init__", "rollback"} == independent("Steps do not know each other")


def test_import_contract__holds_for_every_package_manager() -> None:
    # What several package managers share is no package manager.
    folders = {file.parent.name for file in (SERVER / "packages").glob("*/__init__.py")}
    assert folders - {"rpm"} == independent("The package managers do not know each other")


def test_import_contract__holds_for_every_service() -> None:
    # The lists of pending updates are a part of the host service.
    services = {file.stem for file in (SERVER / "rpc" / "services").glob("*.py")}
    expected = services - {"__init__", "pending_updates"}
    assert expected == independent("The services do not know each other")


def test_documented_make_targets_exist() -> None:
    rules = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for document in documents:
        mentioned = set(
            re.findall(r"(?:`|^\s*\$?\s*)make ([a-z][a-z-]*)", document.read_text(), re.M)
        )
        assert mentioned <= set(rules), (
            f"{document.relative_to(ROOT)} names targets that do not exist"
        )


def test_make_lists_its_targets() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("dev", "protos", "lint", "types", "test", "demo", "bench", "clean"):
        assert re.search(rf"^{target} ", listed, flags=re.MULTILINE)
