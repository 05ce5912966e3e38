"""Errors name the option that the user typed."""

import pytest

from tendhost.client.cli.field_options import option_of


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("spec.cron", "--cron"),
        ("spec.rollout.waves[2]", "--waves"),
        ("config.policy.windows[0].start", "--window (start)"),
        ("policy.windows[1].time_zone", "--window (time_zone)"),
        ("config.policy.hooks.pre.script", "--pre-hook (script)"),
        ("policy.hooks.post.timeout", "--hook-timeout"),
        ("selection.filter.all_tags[0]", "--tag"),
        ("scope.groups[0]", "--group"),
        ("scope.any_tags[1]", "--any-tag"),
        ("expires_at", "--expires"),
        ("roles", "--role"),
        ("config.name", "name"),
        ("page_token", "page_token"),
    ],
)
def test_option__is_named_for_its_field(field, named):
    assert option_of(field) == named
