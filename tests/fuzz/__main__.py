"""Fuzzing with atheris: `python -m tests.fuzz [TARGET]...`, each in a process of its own.

What fails is kept as a file, by whose name `python -m tests.fuzz TARGET --input FILE` tries it again.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 600
"""For each target."""
LONGEST_SECONDS = 25
"""For one input: longer than any parser may take, also on a loaded machine."""
LARGEST_INPUT = 64 * 1024


def _fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Fuzz one target until it fails, or for so long. Does not return."""
    import atheris

    with atheris.instrument_imports(include=["tendhost.server"]):
        from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed[:LARGEST_INPUT])
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={LONGEST_SECONDS}",
        f"-max_len={LARGEST_INPUT}",
        f"-artifact_prefix=fuzz-{name}-",
        "-print_final_stats=0",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


def main() -> int:
    """Fuzz the targets that are named, or all; exit status 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target")
    parser.add_argument("--input", type=Path, help="only read this file")
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.corpus:
        _fuzz(asked.targets[0], asked.corpus, asked.seconds)
    from tests.fuzz.targets import TARGETS

    unknown = set(asked.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    if asked.input:
        for name in asked.targets:
            TARGETS[name](asked.input.read_bytes())
        return 0
    failed = []
    for name in asked.targets or TARGETS:
        print(f"{name}: {asked.seconds} s", flush=True)
        with tempfile.TemporaryDirectory() as corpus:
            words = [name, "--seconds", str(asked.seconds), "--corpus", corpus]
            if subprocess.run([sys.executable, "-m", "tests.fuzz", *words], check=False).returncode:
                failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
