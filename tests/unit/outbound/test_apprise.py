"""Messages through Apprise to real web servers: taken, refused, down and hanging; and no URL told."""

import asyncio
import logging
import subprocess
import sys
import textwrap
from datetime import timedelta

import pytest

from tendhost.server.domain.notifications.templates import Message, Urgency
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.outbound.apprise import AppriseSender, NotDelivered
from tests.unit.remote.web_receiver import free_port, receiving

MESSAGE = Message(
    title="Rollout ro1 halted", body="2 failed: <web1> & web2", urgency=Urgency.FAILURE
)
SECRET = "s3cr3t-t0k3n"


@pytest.fixture(autouse=True, scope="module")
def loaded_library() -> None:
    """Apprise takes half a second to load; like the server, do that before there is an event loop."""
    AppriseSender("loaded", ["json://127.0.0.1"])


def announcer(*ports: int, patience: float = 20) -> AppriseSender:
    urls = [f"json://user:{SECRET}@127.0.0.1:{port}/{SECRET}" for port in ports]
    return AppriseSender("ops", urls, patience=timedelta(seconds=patience))


async def test_a_service_is_given_the_message_as_it_is():
    async with receiving() as receiver:
        await announcer(receiver.port).send(MESSAGE, set())
    (document,) = receiver.documents
    assert document["title"] == "Rollout ro1 halted"
    assert document["message"] == "2 failed: <web1> & web2"
    assert document["type"] == "failure"


async def test_a_service_that_is_down_is_told_as_such():
    with pytest.raises(NotDelivered, match="URL 1 could not be reached"):
        await announcer(free_port()).send(MESSAGE, set())


async def test_a_service_that_refuses_is_told_with_its_status():
    async with receiving(500) as receiver:
        with pytest.raises(NotDelivered, match="URL 1 answered with status 500"):
            await announcer(receiver.port).send(MESSAGE, set())


async def test_a_service_that_hangs_is_waited_for_no_longer_than_its_time():
    async with receiving(answers=False) as receiver:
        with pytest.raises(NotDelivered, match=r"URL 1 did not take it within 0\.2 s"):
            await announcer(receiver.port, patience=0.2).send(MESSAGE, set())


async def test_a_service_that_hangs_holds_up_no_other_of_its_target():
    async with receiving(answers=False) as hanging, receiving() as well:
        with pytest.raises(NotDelivered) as caught:
            await announcer(hanging.port, well.port, patience=0.3).send(MESSAGE, set())
    assert str(caught.value) == "URL 1 did not take it within 0.3 s"
    assert len(well.documents) == 1


async def test_threads_that_hang_are_bounded_and_others_wait_for_their_place():
    async with receiving(answers=False) as hanging:
        telling = announcer(hanging.port, patience=0.2)
        for _ in range(3):
            with pytest.raises(NotDelivered):
                await telling.send(MESSAGE, set())
        # Apprise itself gives up after seconds: until then the one thread of this target is taken.
        assert len(hanging.documents) == 1


async def test_a_repetition_spares_those_who_took_it():
    async with receiving() as first, receiving(500, 200) as second:
        telling = announcer(first.port, second.port)
        reached: set[int] = set()
        with pytest.raises(NotDelivered, match="URL 2 answered with status 500"):
            await telling.send(MESSAGE, reached)
        await telling.send(MESSAGE, reached)
    assert (len(first.documents), len(second.documents), reached) == (1, 2, {0, 1})


@pytest.mark.parametrize(
    "url", [f"nothing://{SECRET}", SECRET, f"slack://{SECRET}", f"mailto://{SECRET}@", ""]
)
def test_a_url_that_cannot_be_used_is_refused_without_being_repeated(url, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConfigurationError, match="invalid value 'number 2'") as caught:
        AppriseSender("ops", ["json://127.0.0.1", url])
    out, err = capfd.readouterr()
    assert SECRET not in f"{caught.value!r} {caught.value.facts()} {caplog.text} {out} {err}"


async def test_no_part_of_a_url_is_told_when_a_service_fails(caplog):
    caplog.set_level(logging.INFO)
    async with receiving(500) as refusing:
        with pytest.raises(NotDelivered) as caught:
            await announcer(refusing.port, free_port()).send(MESSAGE, set())
    assert SECRET not in str(caught.value) + caplog.text
    assert "127.0.0.1" not in str(caught.value)


def test_without_apprise_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tendhost\[notify\]'"):
        AppriseSender("ops", ["json://127.0.0.1"])


async def test_a_service_that_hangs_does_not_hold_up_the_end_of_the_program():
    async with receiving(answers=False) as hanging:
        program = textwrap.dedent(f"""
            import asyncio, os
            from tendhost.server.outbound.apprise import AppriseSender
            from tendhost.server.domain.notifications.templates import Message

            async def main():
                # Apprise is to wait for an answer far longer than this test does.
                url = "json://127.0.0.1:{hanging.port}/?rto=600"
                telling = AppriseSender("ops", [url])
                task = asyncio.create_task(telling.send(Message(title="t", body="b"), set()))
                await asyncio.to_thread(input)
                task.cancel()

            asyncio.run(main())
            print("over")
        """)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        await hanging.received(1)
        async with asyncio.timeout(10):
            out, _ = await process.communicate(b"\n")
    assert (out, process.returncode) == (b"over\n", 0)
