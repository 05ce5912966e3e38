"""How notices read, what templates may say, and how many are told as one; how much in a minute."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tendhost.server.domain.notifications.notices import Notice, NoticeKind
from tendhost.server.domain.notifications.rate_limit import MINUTE, RateLimit
from tendhost.server.domain.notifications.target import NotifyTarget
from tendhost.server.domain.notifications.templates import (
    FIELDS,
    LONGEST_MESSAGE,
    NAMED,
    Urgency,
    WaitingNotices,
    message_of,
    template,
)
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.domain.rollouts.rollout import RolloutProgress

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
K = NoticeKind


def notice(kind: NoticeKind = K.WAVE_DONE, **how: object) -> Notice:
    fields: dict[str, object] = {
        "rollout": "ro1",
        "status": "running",
        "wave": 2,
        "waves": 3,
        "progress": RolloutProgress(total_hosts=9, pending=3, completed=5, failed=1),
    }
    return Notice(kind=kind, at=NOW, revision=7, **{**fields, **how})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (K.ROLLOUT_STARTED, "Rollout ro1 started"),
        (K.WAVE_DONE, "Rollout ro1: wave 2 of 3 done"),
        (K.ROLLOUT_HALTED, "Rollout ro1 halted"),
        (K.APPROVAL_WANTED, "Rollout ro1: wave 3 waits for approval"),
        (K.ROLLOUT_ENDED, "Rollout ro1 running"),
        (K.HOST_FAILED, "web1 failed"),
        (K.EVENTS_PRUNED, "Events were pruned before they were sent"),
    ],
)
def test_each_kind_has_a_title(kind, title):
    assert message_of(notice(kind, host="web1")).title == title


def test_a_wave_that_wants_approval_says_how_it_is_given():
    assert "tendhost rollout approve ro1 3\n" in message_of(notice(K.APPROVAL_WANTED)).body


def test_the_counts_are_told():
    assert message_of(notice()).body.startswith("5 completed, 1 failed, 0 rolled back")


def test_a_rollout_that_ends_with_failures_is_no_success():
    clean = RolloutProgress(total_hosts=1, pending=0, completed=1)
    failed = RolloutProgress(total_hosts=1, pending=0, failed=1)
    for progress, status, urgency in (
        (clean, "completed", Urgency.SUCCESS),
        (failed, "completed", Urgency.WARNING),
        (clean, "expired", Urgency.WARNING),
    ):
        ended = notice(K.ROLLOUT_ENDED, status=status, progress=progress)
        assert message_of(ended).urgency is urgency


def test_a_templates_fields_are_filled_and_its_doubled_braces_are_single():
    form = template("{{{event}}} {rollout}: {completed}/{total} {title}", setting="body")
    text = message_of(notice(), body=form).body
    assert text == "{wave_done} ro1: 5/9 Rollout ro1: wave 2 of 3 done"


def test_a_template_of_every_field_is_a_template():
    every = template(" ".join(f"{{{name}}}" for name in FIELDS), setting="title")
    assert len(message_of(notice(), title=every).title.split(" ")) == len(FIELDS)


@pytest.mark.parametrize(
    "source",
    [
        *("{host.__class__}", "{host[0]}", "{hosts}", "{}", "{0}", "{host!r}", "{host:>9}"),
        *("{", "}", "{host", "{host:{wave}}", "{ host }"),
    ],
)
def test_what_is_no_field_or_no_template_is_refused_with_what_there_is(source):
    with pytest.raises(ConfigurationError, match="rolled_back") as caught:
        template(source, setting="notify 'ops': title")
    assert "notify 'ops': title" in str(caught.value)


@given(source=st.text(alphabet="{}ahost!:.[]0 ", max_size=20))
def test_a_template_is_refused_at_the_start_or_never_fails(source):
    try:
        form = template(source, setting="body")
    except ConfigurationError:
        return
    assert isinstance(message_of(notice(host="h"), body=form).body, str)


def test_what_an_event_says_is_not_taken_for_a_template():
    assert message_of(notice(K.HOST_FAILED, message="{rollout} {")).body == "{rollout} {"


def test_a_message_without_end_is_cut():
    body = message_of(notice(K.HOST_FAILED, message="x" * 10**6)).body
    assert len(body) == LONGEST_MESSAGE
    assert body.endswith("…")


@given(kinds=st.lists(st.sampled_from(NoticeKind), min_size=1, max_size=40))
def test_a_summary_counts_every_notice_and_tells_the_first(kinds):
    gathered = WaitingNotices()
    for number, kind in enumerate(kinds):
        gathered = gathered.with_(notice(kind, host=f"web{number}"))
    message = gathered.message()
    assert gathered.total == len(kinds)
    assert message.title.startswith(f"{len(kinds)} events: ")
    for kind in set(kinds):
        assert f"{kinds.count(kind)} × {kind}" in message.title
    assert len(message.body.splitlines()) == min(len(kinds), NAMED) + (len(kinds) > NAMED)
    assert (f"and {len(kinds) - NAMED} more" in message.body) == (len(kinds) > NAMED)


def test_a_summary_is_as_urgent_as_the_most_urgent_of_what_it_tells():
    gathered = WaitingNotices().with_(notice(K.ROLLOUT_HALTED)).with_(notice(K.ROLLOUT_STARTED))
    assert gathered.message().urgency is Urgency.FAILURE


def test_a_target_hears_what_it_has_chosen_and_of_events_that_were_pruned():
    target = NotifyTarget(name="ops", kinds=(K.ROLLOUT_HALTED,))
    heard = [kind for kind in NoticeKind if target.wants(notice(kind))]
    assert heard == [K.ROLLOUT_HALTED, K.EVENTS_PRUNED]


@given(
    per_minute=st.integers(1, 5),
    gaps=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=40),
)
def test_in_no_minute_more_is_told_than_the_limit_allows(per_minute, gaps):
    limit = RateLimit(per_minute=per_minute)
    now, told = timedelta(), []
    for gap, urgent in gaps:
        now += timedelta(seconds=gap)
        now += limit.wait(now, urgent=urgent)
        limit = limit.after(now)
        told.append(now)
    for start in told:
        assert sum(start <= at < start + MINUTE for at in told) <= per_minute


@given(per_minute=st.integers(1, 5))
def test_a_limit_holds_nothing_up_before_it_is_reached(per_minute):
    limit = RateLimit(per_minute=per_minute)
    for _ in range(per_minute):
        assert limit.wait(timedelta(), urgent=True) == timedelta()
        limit = limit.after(timedelta())
    for urgent in (True, False):
        assert limit.wait(timedelta(seconds=10), urgent=urgent) == timedelta(seconds=50)


@given(per_minute=st.integers(2, 60))
def test_rate_limit__keeps_a_quarter_for_urgent_notices(per_minute):
    limit = RateLimit(per_minute=per_minute)
    kept = max(1, per_minute // 4)
    for _ in range(per_minute - kept):
        assert limit.wait(timedelta(), urgent=False) == timedelta()
        limit = limit.after(timedelta())
    assert limit.wait(timedelta(), urgent=False) == timedelta(minutes=1)
    for _ in range(kept):
        assert limit.wait(timedelta(), urgent=True) == timedelta()
        limit = limit.after(timedelta())
    assert limit.wait(timedelta(), urgent=True) == timedelta(minutes=1)
