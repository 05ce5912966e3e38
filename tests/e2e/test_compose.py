"""Compose projects updated by the server, on hosts with a docker of their own and a registry beside them."""

import asyncio

import pytest

from tendhost.v1 import host_pb2, operation_pb2
from tests.e2e.daemon import Daemon, daemon
from tests.fleet import Fleet, HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATUS_FAILED
UPDATED = operation_pb2.PROJECT_OUTCOME_UPDATED
ROLLED_BACK = operation_pb2.PROJECT_OUTCOME_ROLLED_BACK
UNCHANGED = operation_pb2.PROJECT_OUTCOME_UNCHANGED
BROKEN = operation_pb2.PROJECT_OUTCOME_FAILED
GOOD, OTHER = "/opt/stacks/app", "/opt/stacks/the other"


def stack(image: str) -> str:
    return f"services:\n  web:\n    image: {image}\n    init: true\n    restart: unless-stopped\n"


async def stacked(fleet: Fleet, server: Daemon, *paths: str, **config) -> None:
    """Each of these folders a project that serves version one of an image of its own."""
    host = fleet["k1"]
    for number, path in enumerate(paths):
        fleet.registry.push(f"app{number}", text=f"one {number}")
        host.write_stack(path, stack(f"{fleet.registry.address}/app{number}:1"))
        await asyncio.to_thread(host.compose_up, path)
    await server.register(
        host.name,
        host.address,
        compose_paths=paths,
        compose_health_timeout={"seconds": 15},
        **config,
    )


def outcomes(operation: operation_pb2.Operation) -> dict[str, int]:
    return {project.path: project.outcome for project in operation.update.projects}


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_moved_tag_is_pulled_and_unhealthy_images_are_put_back(make_fleet, tmp_path, version):
    fleet = make_fleet(HostSpec(name="k1", compose=version, packages=("tb-simple",)))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await stacked(fleet, server, GOOD, OTHER)
        looked = await server.query("k1")
        assert looked.status == SUCCEEDED, looked
        inventory = await server.inventory("k1")
        before = {p.path: p.services[0].image_id for p in inventory.compose_projects}
        assert all(before.values())
        assert {c.state for c in inventory.containers} == {"running"}
        assert len(inventory.images) == 2
        fleet.registry.push("app0", text="two")
        fleet.registry.push("app1", text="two", healthy=False)
        done = await server.update("k1")
        assert outcomes(done) == {GOOD: UPDATED, OTHER: ROLLED_BACK}, done
        assert done.status == FAILED
        assert done.problem.reason == "COMPOSE_ROLLED_BACK"
        assert OTHER in done.problem.message
        # The packages were upgraded all the same.
        assert [c.name for c in done.update.packages] == ["tb-simple"]
        after = {
            p.path: p.services[0].image_id for p in (await server.inventory("k1")).compose_projects
        }
        host = await server.host("k1")
    assert after[GOOD] != before[GOOD]
    assert after[OTHER] == before[OTHER]
    assert host.status.state == host_pb2.HOST_STATE_FAILED
    (good, other) = done.update.projects
    assert (good.services[0].from_image_id, good.services[0].to_image_id) == (
        before[GOOD],
        after[GOOD],
    )
    assert (other.services[0].from_image_id, other.services[0].to_image_id) == (
        before[OTHER],
        before[OTHER],
    )


async def test_broken_file_and_a_registry_that_is_down_leave_the_others_alone(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="k1", docker=True, packages=("tb-simple",)))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await stacked(fleet, server, GOOD, OTHER)
        fleet["k1"].write_stack(OTHER, "services:\n  web: [this is no service\n")
        fleet.registry.push("app0", text="two")
        done = await server.update("k1")
        assert outcomes(done) == {GOOD: UPDATED, OTHER: BROKEN}, done
        assert done.problem.reason == "COMPOSE_FAILED"
        await asyncio.to_thread(fleet.registry.stop)
        again = await server.retry("k1")
    assert outcomes(again) == {GOOD: BROKEN, OTHER: BROKEN}, again
    assert "cannot be pulled" in again.update.projects[0].problem


async def test_killed_server_takes_the_update_up_again_and_nothing_is_done_twice(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="k1", docker=True, packages=("tb-simple",)))
    host = fleet["k1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await stacked(fleet, server, GOOD)
        fleet.registry.push("app0", text="two", healthy=None, command=("sleep", "1000"))
        begun = await server.start_update("k1")
        async with asyncio.timeout(60):
            while host.run("ls -d /var/lib/tendhost/ops/*/compose-*").returncode:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        server.process.kill()
        await server.process.wait()
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        done = await server.ended(begun.id)
    assert done.status == SUCCEEDED, done
    assert outcomes(done) == {GOOD: UPDATED}
    created = host.output("docker ps -a -q").split()
    assert len(created) == 1


async def test_host_without_packages_to_upgrade_still_gets_its_projects_updated(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="k1", docker=True, packages=()))
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await stacked(fleet, server, GOOD)
        done = await server.update("k1")
        assert done.status == SUCCEEDED, done
        assert outcomes(done) == {GOOD: UNCHANGED}
        fleet.registry.push("app0", text="two")
        done = await server.update("k1")
    assert outcomes(done) == {GOOD: UPDATED}, done


async def test_dry_run_finds_the_moved_tag_and_pulls_nothing(make_fleet, tmp_path):
    fleet = make_fleet(HostSpec(name="k1", docker=True, packages=("tb-simple",)))
    host = fleet["k1"]
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        await stacked(fleet, server, GOOD, OTHER)
        images = sorted(host.output("docker images -q").split())
        fleet.registry.push("app1", text="two")
        tried = await server.update("k1", dry_run=True)
        assert tried.status == SUCCEEDED, tried
        assert outcomes(tried) == {GOOD: UNCHANGED, OTHER: UPDATED}
        assert sorted(host.output("docker images -q").split()) == images


async def test_images_are_taken_back_with_an_update_that_leaves_the_host_unhealthy(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="k1", docker=True, packages=("tb-simple",)))
    host = fleet["k1"]
    unit = "[Service]\\nType=oneshot\\nExecStart=/bin/grep -q 1.0-1 /usr/share/tb-simple/version\\n"
    hook = 'DPkg::Post-Invoke { "systemctl restart app.service || true"; };'
    host.run(
        f"printf '{unit}' >/etc/systemd/system/app.service; systemctl daemon-reload;"
        f" echo '{hook}' >/etc/apt/apt.conf.d/99app",
        check=True,
    )
    config = tmp_path / "tendhostd.toml"
    config.write_text("verify_timeout = 2\n")
    policy = host_pb2.Policy(rollback=host_pb2.ROLLBACK_UNHEALTHY)
    async with daemon(
        tmp_path / "state", key=fleet.private_key, options=("--config", str(config))
    ) as server:
        await stacked(fleet, server, GOOD, policy=policy)
        running = "docker inspect --format '{{.Image}}' $(docker ps -q)"
        before = host.output(running)
        fleet.registry.push("app0", text="two")
        done = await server.update("k1")
    assert done.problem.reason == "UNHEALTHY", done
    assert done.update.rolled_back, done.steps[-1]
    assert host.output("cat /usr/share/tb-simple/version") == "1.0-1"
    assert host.output(running) == before
    assert outcomes(done) == {GOOD: ROLLED_BACK}
