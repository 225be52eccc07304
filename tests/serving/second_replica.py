"""A second replica of the shop in a process of its own: decides for each id that comes in, and prints the draw."""

import sys
from pathlib import Path

from serving.service import DecisionService
from tests.serving.conftest import SHOP, Shop


def main() -> None:
    shop = Shop(Path(sys.argv[1]))
    with DecisionService(shop.settings, {"shop": SHOP}) as service:
        print("ready", flush=True)
        ids = [line.strip() for line in sys.stdin]
        for future in [service.submit("shop", "p-1", {}, name) for name in ids]:
            print(repr(future.result().draw), flush=True)


if __name__ == "__main__":
    main()
