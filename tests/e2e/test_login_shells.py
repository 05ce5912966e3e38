"""Users with other shells, and logins that run no commands, through the server: operations work, or say why not."""

import pytest

from tendhost.v1 import operation_pb2
from tests.e2e.daemon import daemon, until_jobs_are_removed
from tests.fleet import HostSpec

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SUCCEEDED = operation_pb2.OPERATION_STATUS_SUCCEEDED
NOISE = "echo Welcome; echo noise >&2; set -eCu; cat() { echo mine; }; export -f cat; trap 'echo bye' EXIT"
CLOUD = "command=\"echo 'Please login as the user ubuntu';exit 142\" "
USERS = f"""
set -e
for user in tcsh:/bin/tcsh noisy:/bin/bash cloud:/bin/bash; do
  name=${{user%%:*}}
  useradd -m -s ${{user#*:}} $name
  cp -r /home/ops/.ssh /home/$name/
  echo "$name ALL=(ALL:ALL) NOPASSWD: ALL" >/etc/sudoers.d/$name
done
echo 'echo Welcome' >/home/tcsh/.tcshrc
cat >/home/noisy/.bashrc <<'X'
{NOISE}
X
sed -i "s|^|$CLOUD|" /home/cloud/.ssh/authorized_keys
for name in tcsh noisy cloud; do chown -R $name: /home/$name; done
systemctl start broken.service || :
"""


async def test_operations__work_with_any_login_shell_or_give_the_words_of_the_host(
    make_fleet, tmp_path
):
    fleet = make_fleet(HostSpec(name="web1", packages=("tb-simple", "tb-conf"), shells=True))
    host = fleet["web1"]
    unit = "[Service]\\nType=oneshot\\nExecStart=/bin/false\\n"
    host.run(f"printf '{unit}' >/etc/systemd/system/broken.service", check=True)
    quoted = CLOUD.replace("'", "'\\''")
    host.run(f"CLOUD='{quoted}'\n{USERS}", check=True)
    async with daemon(tmp_path / "state", key=fleet.private_key) as server:
        for user in ("tcsh", "noisy", "cloud"):
            await server.register(user, host.address, user=user, allow_duplicate=True)
        for user in ("tcsh", "noisy"):
            assert (await server.query(user)).status == SUCCEEDED
            checked = await server.check(user)
            assert not checked.health.healthy
            assert "broken.service" in checked.health.message
            updated = await server.update(user)
            assert updated.status == SUCCEEDED, updated
        for operation in (await server.query("cloud"), await server.check("cloud")):
            assert operation.problem.reason == "SHELL_UNUSABLE"
            assert "Please login as the user ubuntu' and ended with exit status 142" in (
                operation.problem.message
            )
            assert not operation.health.healthy
        await until_jobs_are_removed(host)
    assert host.output("dpkg-query -W -f '${Version}' tb-simple") == "2.0-1"
