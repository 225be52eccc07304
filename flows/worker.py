"""The worker: puts the deployments in place, then runs flows as processes until it is ended: `python -m flows.worker`."""

import asyncio
import sys
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.workers.process import ProcessWorker

from flows.deployments import POOL, put_in_place
from flows.place import ROOT, settings_here
from storage.installation import open_installation
from storage.layout import Layout

AT_ONCE = 2
"""Flow runs at a time: each may use all cores, and decisions come first."""

BEAT_S = 5.0
WAIT_S = 0.3


async def work() -> None:
    """Serve the work pool, and touch `run/worker.beat` while doing so."""
    settings = settings_here()
    layout = Layout(settings.folder)
    scheduled = not open_installation(layout, settings.clock).simulated
    async with get_client() as client:
        while True:
            try:
                names = await put_in_place(client, ROOT, settings.use_cases, scheduled=scheduled)
                break
            except httpx.HTTPError as error:
                print(f"Prefect cannot take the deployments yet: {error}", flush=True)
                await asyncio.sleep(WAIT_S)
    print("deployed " + ", ".join(names), flush=True)
    worker = ProcessWorker(work_pool_name=POOL, name="offerloop", limit=AT_ONCE)
    beating = asyncio.create_task(_beat(layout.run / "worker.beat"))
    try:
        await worker.start(with_healthcheck=False)
    finally:
        beating.cancel()


async def _beat(path: Path) -> None:
    while True:
        path.touch()
        await asyncio.sleep(BEAT_S)


def main() -> int:
    """Run the worker."""
    asyncio.run(work())
    return 0


if __name__ == "__main__":
    sys.exit(main())
