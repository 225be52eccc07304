import asyncio
import threading
from concurrent.futures import Future

import pytest

from contracts.errors import Conflict
from serving.arrivals import Arrivals


def test_results_and_errors_of_another_thread_arrive() -> None:
    async def run() -> None:
        arrivals = Arrivals(asyncio.get_running_loop())
        futures: list[Future[int]] = [Future() for _ in range(100)]
        waiting = [arrivals.wait(future) for future in futures]

        def resolve() -> None:
            for number, future in enumerate(futures):
                future.set_result(number) if number % 2 else future.set_exception(Conflict("decision", str(number)))

        threading.Thread(target=resolve).start()
        arrived = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(found, Conflict) for found in arrived] == [number % 2 == 0 for number in range(100)]
        assert arrived[1::2] == list(range(1, 100, 2))

    asyncio.run(run())


def test_what_is_there_already_arrives_at_once() -> None:
    async def run() -> None:
        future: Future[str] = Future()
        future.set_result("here")
        assert await Arrivals(asyncio.get_running_loop()).wait(future) == "here"

    asyncio.run(run())


def test_nobody_waiting_any_more_is_no_error() -> None:
    async def run() -> None:
        arrivals = Arrivals(asyncio.get_running_loop())
        future: Future[str] = Future()
        waiting = arrivals.wait(future)
        waiting.cancel()
        future.set_result("late")
        await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())
