"""Settings that a project runs with, found by the labels that docker lists; docker itself is a fake here.

The labels are as docker compose 2.26.1 and docker-compose 1.29.2 set them; tests/e2e has the real ones.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tendhost.server.packages.compose.commands import COMPOSE_FILE
from tendhost.server.packages.compose.project_settings import SETTINGS
from tests.tools import SHELLS

FAKE = r"""#!/bin/sh
case $1 in ps) cat "$HERE/listed"; exit ;; esac
shift
case "$*" in
  'version --short') echo 2.26.1-4 ;;
  *'config --services') echo web; echo db ;;
  *'config --profiles') cat "$HERE/profiles" 2>/dev/null || echo extra ;;
  *'config --hash *') ! grep -qxF -e "$*" "$HERE/invalid" 2>/dev/null || exit 15
    sum=$(printf '%s' "$*" | sed 's/ config.*//' | cksum | cut -d ' ' -f 1)
    printf 'web %s\ndb %s\nhidden %s\n' $sum $sum $sum ;;
  *'up --dry-run'*) echo " Container app-web-1  $(cat "$HERE/plan" 2>/dev/null || echo Recreate)" ;;
  *'ps -a -q') cat "$HERE/by_name" 2>/dev/null ;;
esac
"""


@dataclass
class Folder:
    """A host with one folder of a project, and what docker lists there."""

    path: Path
    shell: tuple[str, ...] = ("sh",)
    rows: tuple[str, ...] = ()

    @property
    def app(self) -> Path:
        return self.path / "my stacks" / "it's app"

    def started(
        self,
        flags: str,
        *,
        project: str = "app",
        folder: Path | str | None = None,
        files: str = "compose.yaml",
        env: str = "",
        service: str = "web",
        version: str = "2.26.1",
        status: str = "Up 2 hours (healthy)",
        oneoff: str = "False",
    ) -> None:
        """A container that was made with these flags, which give its hash."""
        sums = subprocess.run(["cksum"], input=flags, capture_output=True, text=True, check=True)
        fields = (
            f"{len(self.rows):064x}",
            status,
            project,
            str(folder or self.app),
            files,
            env,
            oneoff,
            service,
            version,
            sums.stdout.split()[0],
        )
        self.rows += ("\t".join(fields),)

    def settle(self) -> tuple[str, str, str]:
        """Why the project cannot be used, the flags, and which services run with other settings."""
        (self.path / "listed").write_text("".join(f"{row}\n" for row in self.rows))
        script = (
            f"set -f\n{COMPOSE_FILE}\n{SETTINGS}\ncompose='docker compose'\n"
            'settle; printf "%s\\n" "$?:$why" "$flags" "$unlike"'
        )
        environment = {"PATH": f"{self.path}/bin:/usr/bin:/bin", "HERE": str(self.path)}
        done = subprocess.run(
            [*self.shell, "-c", script],
            cwd=self.app,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        result, flags, unlike, _ = done.stdout.split("\n")
        status, _, why = result.partition(":")
        assert (status == "0") == (why == "")
        return why, flags, unlike


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "docker"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    made.app.mkdir(parents=True)
    for name in ("compose.yaml", "prod.yaml", "prod.env"):
        (made.app / name).touch()
    return made


def flags(folder: Folder, *files: str, project: str = "app", env: str = "") -> str:
    """As the fake docker gets them, whose words have lost their quotes."""
    words = ["-p", project, "--project-directory", str(folder.app)]
    for name in files:
        words += ["-f", f"{folder.app}/{name}"]
    words += ["--env-file", f"{folder.app}/{env}"] if env else []
    return " ".join(words)


def quoted(words: str, folder: Folder) -> str:
    """The flags as the shell has them."""
    quote = str(folder.app).replace("'", "'\\''")
    found = words.replace(f"-p {words.split()[1]}", f"-p '{words.split()[1]}'")
    for name in ("/compose.yaml", "/prod.yaml", "/prod.env"):
        found = found.replace(f"{folder.app}{name}", f"'{quote}{name}'")
    return found.replace(f"--project-directory {folder.app}", f"--project-directory '{quote}'")


@pytest.mark.parametrize("shell", SHELLS)
def test_settings__are_those_of_the_labels(folder: Folder, shell: tuple[str, ...]) -> None:
    folder.shell = shell
    made = flags(folder, "compose.yaml", "prod.yaml", project="other", env="prod.env")
    files = f"{folder.app}/compose.yaml,{folder.app}/prod.yaml"
    for service in ("web", "db"):
        folder.started(
            made, project="other", files=files, env=f"{folder.app}/prod.env", service=service
        )
    assert folder.settle() == ("", quoted(made, folder), "")


def test_settings__of_version_1_have_files_without_a_folder(folder: Folder) -> None:
    made = flags(folder, "compose.yaml", "prod.yaml")
    folder.started(made, files="compose.yaml,prod.yaml")
    assert folder.settle() == ("", quoted(made, folder), "")


def test_settings__of_a_project_folder_elsewhere_are_found_by_their_files(folder: Folder) -> None:
    elsewhere = folder.path / "elsewhere"
    elsewhere.mkdir()
    folder.started("x", folder=elsewhere, files=f"{folder.app}/compose.yaml", version="2.20.0")
    why, found, _ = folder.settle()
    assert why == ""
    assert f"--project-directory '{elsewhere}'" in found


def test_settings__are_found_through_a_link(folder: Folder) -> None:
    link = folder.path / "current"
    link.symlink_to(folder.app)
    folder.started("x", folder=link, files=f"{link}/compose.yaml", version="2.20.0")
    why, found, _ = folder.settle()
    assert why == ""
    assert f"-f '{link}/compose.yaml'" in found


def test_settings__that_no_label_tells_show_in_the_hash(folder: Folder) -> None:
    made = flags(folder, "compose.yaml")
    folder.started("MODE=prod " + made, files=f"{folder.app}/compose.yaml")
    folder.started(made, files=f"{folder.app}/compose.yaml", service="db")
    assert folder.settle() == ("", quoted(made, folder), "web")


def test_settings__with_another_hash_are_alike_where_docker_compose_plans_to_leave_them(
    folder: Folder,
) -> None:
    folder.started("x", files=f"{folder.app}/compose.yaml")
    (folder.path / "plan").write_text("Running")
    assert folder.settle()[2] == ""


def test_settings__of_another_docker_compose_cannot_be_compared(folder: Folder) -> None:
    made = flags(folder, "compose.yaml")
    folder.started("x", files=f"{folder.app}/compose.yaml", version="2.20.0")
    assert folder.settle() == ("", quoted(made, folder), "")


def test_settings__of_several_starts_are_those_that_every_service_agrees_with(
    folder: Folder,
) -> None:
    """A service that a later start did not change keeps the labels of the earlier one."""
    made = flags(folder, "compose.yaml", "prod.yaml")
    folder.started(made, files=f"{folder.app}/compose.yaml", service="db")
    folder.started(made, files=f"{folder.app}/compose.yaml,{folder.app}/prod.yaml")
    assert folder.settle() == ("", quoted(made, folder), "")


def test_settings__of_several_starts_that_do_not_agree_are_not_used(folder: Folder) -> None:
    folder.started("x", files=f"{folder.app}/compose.yaml", service="db")
    folder.started("y", files=f"{folder.app}/compose.yaml,{folder.app}/prod.yaml")
    assert folder.settle()[2] != ""


def test_settings__of_several_starts_by_another_docker_compose_are_not_used(
    folder: Folder,
) -> None:
    folder.started("x", files=f"{folder.app}/compose.yaml", service="db", version="2.20.0")
    folder.started("y", files=f"{folder.app}/prod.yaml", version="2.20.0")
    assert folder.settle()[2] != ""


def test_settings__of_several_starts_that_cannot_be_compared_are_not_used(folder: Folder) -> None:
    """The files of one start are not valid any more: whether the other service agrees with them is not known."""
    folder.started("x", files=f"{folder.app}/compose.yaml", service="db")
    folder.started("y", files=f"{folder.app}/compose.yaml,{folder.app}/prod.yaml")
    invalid = [flags(folder, "compose.yaml"), flags(folder, "compose.yaml", "prod.yaml")]
    (folder.path / "invalid").write_text("".join(f"{one} config --hash *\n" for one in invalid))
    assert folder.settle()[2] == "db web"


def test_settings__in_another_place_that_cannot_be_compared_are_not_used(folder: Folder) -> None:
    folder.started("config --hash *", folder=folder.path / "gone")
    (folder.path / "by_name").write_text(folder.rows[0].split("\t")[0] + "\n")
    assert folder.settle()[2] == ""
    (folder.path / "invalid").write_text("config --hash *\n")
    assert folder.settle()[2] == "web"


def test_settings__count_containers_that_run(folder: Folder) -> None:
    made = flags(folder, "compose.yaml")
    folder.started("x", files="gone.yaml", status="Exited (0) 2 hours ago", service="db")
    folder.started("y", files="gone.yaml", status="Up 1 hour (Paused)", service="db")
    folder.started("z", files="gone.yaml", oneoff="True")
    folder.started(made, files=f"{folder.app}/compose.yaml")
    assert folder.settle() == ("", quoted(made, folder), "")


def test_profiles__are_active_where_a_service_of_theirs_runs(folder: Folder) -> None:
    made = flags(folder, "compose.yaml")
    folder.started(f"{made} --profile extra", files=f"{folder.app}/compose.yaml", service="hidden")
    assert folder.settle() == ("", f"{quoted(made, folder)} --profile 'extra'", "")


def test_profiles__are_words_whatever_is_in_them(folder: Folder) -> None:
    """The flags are evaluated by the shell."""
    names = ("two words", "a;touch here", "$(touch here)", "it's", "*", "-")
    (folder.path / "profiles").write_text("".join(f"{name}\n" for name in names))
    made = flags(folder, "compose.yaml") + "".join(f" --profile {name}" for name in names)
    folder.started(made, files=f"{folder.app}/compose.yaml", service="hidden")
    quotes = (name.replace("'", "'\\''") for name in names)
    words = quoted(flags(folder, "compose.yaml"), folder)
    words += "".join(f" --profile '{name}'" for name in quotes)
    assert folder.settle() == ("", words, "")
    assert not (folder.app / "here").exists()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ("", "it was started from a compose file on standard input"),
        (
            "/gone/compose.yaml",
            "it was started from the file /gone/compose.yaml, which is not there",
        ),
        ("-", "it was started from a compose file on standard input"),
    ],
)
def test_project__whose_files_are_not_there_is_refused(
    folder: Folder, files: str, why: str
) -> None:
    folder.started("x", files=files)
    assert folder.settle()[0] == why


def test_project__whose_environment_file_is_not_there_is_refused(folder: Folder) -> None:
    folder.started("x", env="/gone/prod.env")
    assert "the environment file /gone/prod.env, which is not there" in folder.settle()[0]


def test_project__beside_another_one_in_its_folder_is_refused(folder: Folder) -> None:
    folder.started("x", project="blue")
    folder.started("x", project="green")
    assert folder.settle()[0] == "several projects run from this folder: blue green"


@pytest.mark.parametrize("there", [True, False])
def test_project__with_the_name_of_one_in_another_folder_is_refused(
    folder: Folder, there: bool
) -> None:
    """If the other folder is there; else the project has moved, and its hashes show whether it is the same."""
    other = folder.path / "other"
    if there:
        other.mkdir()
    folder.started("", folder=other, version="2.20.0")
    (folder.path / "by_name").write_text(folder.rows[0].split("\t")[0] + "\n")
    why, found, unlike = folder.settle()
    assert (why == "") is not there
    assert (found, unlike) == ("", "" if there else "web")


def test_project__that_never_ran_has_the_settings_of_its_folder(folder: Folder) -> None:
    assert folder.settle() == ("", "", "")
    (folder.app / "compose.yaml").unlink()
    assert folder.settle()[0] == "there is no compose file in this folder"
