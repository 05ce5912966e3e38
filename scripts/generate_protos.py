"""Generates what stands beside the .proto files (Python stubs, a descriptor set), or checks it for drift.

Run by ``make protos``; ``--check`` writes nothing and fails with the names of the files that
differ from what the generator makes of the contract today.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
CONTRACT = "tendhost/v1"
# Vendored, and stubbed too: the contract's stubs import buf.validate.validate_pb2.
VALIDATION_RULES = "buf/validate"
DESCRIPTORS = "descriptors.binpb"
"""The contract as a FileDescriptorSet with its comments, for reflection and for tools such as buf."""
STUBS = (DESCRIPTORS, "*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(into: Path) -> None:
    """Writes the stubs of every .proto below `protos/` into the tree at `into`."""
    messages = [f"--python_out={into}", f"--mypy_out=quiet:{into}"]
    described = into / CONTRACT / DESCRIPTORS
    described.parent.mkdir(parents=True, exist_ok=True)
    comments = ["--include_source_info", f"--descriptor_set_out={described}"]
    services = [f"--grpc_python_out={into}", f"--mypy_grpc_out=only_async,quiet:{into}"]
    _protoc([*messages, *services, *comments], CONTRACT)
    _protoc(messages, VALIDATION_RULES)


def _protoc(outputs: list[str], package: str) -> None:
    sources = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / package).glob("*.proto"))
    if not sources:
        raise SystemExit(f"no .proto files in {PROTOS / package}")
    # protoc looks plugins up on PATH, where another environment's may come first.
    programs = Path(sys.executable).parent
    plugins = [
        f"--plugin={name}={programs / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *plugins, *outputs, *sources]
    subprocess.run(command, cwd=PROTOS, check=True)


def stubs_in(tree: Path) -> dict[str, bytes]:
    """The generated files below `tree`, by their path relative to it."""
    packages = (CONTRACT, VALIDATION_RULES)
    paths = (path for package in packages for stub in STUBS for path in (tree / package).glob(stub))
    return {str(path.relative_to(tree)): path.read_bytes() for path in paths}


def drift() -> list[str]:
    """One line for each committed stub that is not what the generator writes today."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        expected = stubs_in(Path(scratch))
    committed = stubs_in(PROTOS)
    lines = []
    for name in sorted(expected.keys() | committed.keys()):
        if name not in committed:
            lines.append(f"protos/{name}: missing")
        elif name not in expected:
            lines.append(f"protos/{name}: has no .proto any more")
        elif committed[name] != expected[name]:
            lines.append(f"protos/{name}: differs from its .proto")
    return lines


def main() -> int:
    """Generates in place, or with --check only reports; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift")
    if parser.parse_args().check:
        lines = drift()
        for line in lines:
            print(line)
        if lines:
            print("run `make protos` and commit the result")
        return 1 if lines else 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        expected = stubs_in(Path(scratch))
    for name in stubs_in(PROTOS).keys() - expected.keys():
        (PROTOS / name).unlink()
    for name, content in expected.items():
        (PROTOS / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
