"""The peer of a decision behind Ray Serve: a bare ASGI application that does nothing, deployed on the Ray that the environment names.

`python -m bench.peers.no_op_on_ray ADDRESS_PREFIX REPLICAS `; it stays when this ends, and goes with Ray.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

MOST_ONGOING = 128

BODY = b'{"entity_id":"nobody","action":"none"}'


async def no_op(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """ASGI 3: the same answer to everything, and the least that the protocol asks for."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        # why: a list of its own each time, since Ray adds to it
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})


def build() -> Any:
    """The application, made on the replica."""
    return no_op


class NoOp:
    """The deployment's class."""


def main(prefix: str, replicas: int) -> None:
    """Deploy, and wait until it answers."""
    import ray
    from ray import serve

    ray.init(address="auto", namespace="no_op", log_to_driver=False, logging_level=logging.WARNING)
    deployment: Any = serve.deployment(
        name="no_op",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=MOST_ONGOING,
        max_queued_requests=-1,
        health_check_period_s=2.0,
        health_check_timeout_s=10.0,
        logging_config={"enable_access_log": False},
    )
    serve.run(deployment(serve.ingress(build)(NoOp)).bind(), name="no_op", route_prefix=prefix, blocking=False)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
