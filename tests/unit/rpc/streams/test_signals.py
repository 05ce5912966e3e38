"""Wake-ups by name: each call reaches those who wait for that name, and nobody twice."""

import asyncio

from tendhost.server.rpc.streams.signals import Signal, Signals


async def waits(signal: Signal) -> bool:
    waiting = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    return not waiting.done()


async def test_signal__is_called_for_its_name_and_for_no_other() -> None:
    signals = Signals()
    with (
        signals.subscribed("a") as one,
        signals.subscribed("a") as two,
        signals.subscribed("b") as b,
    ):
        signals.call(["a", "c"])
        await one.wait()
        await two.wait()
        assert await waits(one)
        assert await waits(b)
        signals.call_all()
        for signal in (one, two, b):
            await signal.wait()


async def test_signal__remembers_a_call_that_comes_before_the_wait() -> None:
    signals = Signals()
    with signals.subscribed("a") as signal:
        signals.call(["a"])
        signals.call(["a"])
        await signal.wait()
        assert await waits(signal)


async def test_signal__is_forgotten_with_its_subscription() -> None:
    signals = Signals()
    with signals.subscribed("a"), signals.subscribed("a"):
        pass
    assert not signals._waiting
    signals.call(["a"])
    signals.call_all()
