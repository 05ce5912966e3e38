"""What changed between two configurations: every field that differs, no other, and nothing secret."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.changes import LONGEST, FieldChange, changes_of
from tendhost.server.domain.hosts.host import HostConfig, Policy
from tendhost.server.domain.policy.hooks import Hook, Hooks

CONFIG = HostConfig(name="web1", address="a")


def test_changes__equal_values_differ_in_nothing():
    assert changes_of(CONFIG, replace(CONFIG)) == ()


@given(st.text(max_size=2 * LONGEST), st.text(max_size=2 * LONGEST))
def test_changes__long_values_are_not_told_and_short_ones_are(old, new):
    found = changes_of(replace(CONFIG, user=old), replace(CONFIG, user=new))
    if old == new:
        assert found == ()
        return
    (change,) = found
    assert change.path == "user"
    for value, told in ((old, change.old), (new, change.new)):
        assert told == (value if len(value) <= LONGEST else None)


def test_changes__a_script_is_never_told():
    hooks = Hooks(pre=Hook(script="token=1"), post=Hook(script="token=2"))
    secret = replace(CONFIG, policy=Policy(hooks=hooks))
    other = replace(hooks, pre=Hook(script="token=3"))
    found = changes_of(secret, replace(CONFIG, policy=Policy(hooks=other)))
    assert found == (FieldChange(path="policy.hooks.pre.script"),)
    assert "token" not in str(changes_of(CONFIG, secret))
