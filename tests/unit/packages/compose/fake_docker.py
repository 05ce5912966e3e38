"""A docker whose state is a JSON file, for the scripts that update projects; the real one is in tests/e2e.

Of docker's commands it knows those that the scripts give, with their formats. `calls` has each `up` and pull.
A command with the words `cut_off_at` is the last one: its whole session is killed.
"""

import contextlib
import json
import os
import signal
import sys

HASH = "hash"


def main(arguments: list[str], path: str) -> int:
    # Started some hundred times in a test, so without pathlib.
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        state = json.load(file)
    before = json.dumps(state)
    if "cut_off_at" in state and state["cut_off_at"] in " ".join(arguments):
        cut_off()
    try:
        return run(arguments, state)
    finally:
        if before != json.dumps(state):
            with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
                json.dump(state, file)


def cut_off() -> None:
    session = os.getsid(0)
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208
        with contextlib.suppress(ProcessLookupError):
            if pid != os.getpid() and os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def run(arguments: list[str], state: dict) -> int:  # type: ignore[type-arg]  # noqa: C901
    containers, tags = state["containers"], state["tags"]
    with open(f"{state['folder']}/../uptime", encoding="utf-8") as file:  # noqa: PTH123
        uptime = file.read()
    match arguments:
        case ["ps", "-a", "-q", *_] | ["compose", *_, "ps", "-a", "-q"]:
            print(*(one["id"] for one in containers), sep="\n")
        case ["ps", *_]:
            for one in containers:
                up = {"running": "Up 1 hour", "paused": "Up 1 hour (Paused)"}
                print(
                    one["id"],
                    up.get(one["status"], "Exited (0)"),
                    "app",
                    state["folder"],
                    f"{state['folder']}/compose.yaml",
                    "",
                    "False",
                    one["service"],
                    "2.26.1",
                    one.get("hash", HASH),
                    sep="\t",
                )
        case ["container", "inspect", "--format", form, *ids]:
            for one in containers:
                if one["id"] in ids:
                    print(row(one, uptime) if "State" in form else one["image"])
        case ["image", "inspect", "--format", form, name]:
            if name not in tags and name not in tags.values():
                return 1
            if "RepoDigests" in form:
                print(*(f"{ref.rpartition(':')[0]}@sha256:x" for ref in state["registry"]))
            else:
                print(tags.get(name, name))
        case ["image", "tag", image, name]:
            tags[name] = image
        case ["compose", *_, "version", "--short"] | ["compose", "version"]:
            print("2.26.1")
        case ["compose", *_, "config", "--hash", "*"]:
            print(*(f"{name} {HASH}" for name in state["services"]), sep="\n")
        case ["compose", *_, "config", "--services"]:
            print(*state["services"], sep="\n")
        case ["compose", *_, "config"]:
            print("services:")
            for name in state["services"]:
                print(f"  {name}:\n    image: x")
                if name in state["built"]:
                    print("    build:\n      context: .")
        case ["compose", "up", "--help"]:
            print("--pull string")
        case ["compose", *before, "pull", "-q"] if before:
            return 0
        case ["compose", *words] if "pull" in words and "up" not in words:
            return pull(words[words.index("pull") + 2 :], state)
        case ["compose", *words] if "--dry-run" in words:
            print(f" Container app-{words[-1]}-1  Recreate")
        case ["compose", *words] if "up" in words:
            up_(words[words.index("up") + 1 :], state)
    return 0


def row(one: dict, uptime: str) -> str:  # type: ignore[type-arg]
    health = one.get("health", "none")
    if "healthy_at" in one and float(uptime.split(maxsplit=1)[0]) >= one["healthy_at"]:
        health = "healthy"
    return (
        f"{one['service']} {one['image']} {one['status']} {health}"
        f" {one.get('policy', 'no')}. {one.get('code', 0)} {one['id']} {one.get('check', '-')} now"
    )


def pull(services: list[str], state: dict) -> int:  # type: ignore[type-arg]
    state["calls"].append(["pull", *services])
    errors = 0
    for name in services:
        image = state["services"][name]
        error = state["errors"].get(name, [])
        if error:
            print(f"Error response from daemon: {error.pop(0)}", file=sys.stderr)
            errors = 1
        elif image in state["registry"]:
            state["tags"][image] = state["registry"][image]
        else:
            print(f"manifest for {image} not found: manifest unknown", file=sys.stderr)
            errors = 1
    return errors


def up_(words: list[str], state: dict) -> None:  # type: ignore[type-arg]
    state["calls"].append(["up", *words])
    scale = dict(w.split("=") for w in words if "=" in w)
    wanted = [word for word in words if word in state["services"]]
    for name in wanted:
        image = state["tags"][state["services"][name]]
        mine = [one for one in state["containers"] if one["service"] == name]
        if mine and all(one["image"] == image and one["status"] == "running" for one in mine):
            continue
        state["containers"] = [one for one in state["containers"] if one["service"] != name]
        for _ in range(int(scale.get(name, 1))):
            state["made"] += 1
            made = {"service": name, "image": image, "id": f"new{state['made']}"}
            made |= {"status": "running"} | state["becomes"].get(image, {})
            state["containers"].append(made)


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], sys.argv[1]))
