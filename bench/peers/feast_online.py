"""Times Feast's online store on SQLite: `python feast_online.py FOLDER SEED`, by an interpreter that has Feast. Prints JSON."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import feast  # type: ignore[import-not-found]
import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig  # type: ignore[import-not-found]
from feast.types import Float64  # type: ignore[import-not-found]
from feast.value_type import ValueType  # type: ignore[import-not-found]

ENTITIES, FEATURES = 2_000, 20
ONES, MANIES, PUSHES = 300, 30, 30


def main(folder: Path, seed: int) -> None:
    """Fill a store, read from it and push to it."""
    random = np.random.default_rng(seed)
    names = [f"f{number}" for number in range(FEATURES)]
    rows = frame(random, names, [f"player-{number}" for number in range(ENTITIES)])
    rows.to_parquet(folder / "rows.parquet")
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store=SqliteOnlineStoreConfig(path=str(folder / "online.db")),
            entity_key_serialization_version=3,
        )
    )
    player = Entity(name="player", join_keys=["player"], value_type=ValueType.STRING)
    batch = FileSource(name="rows", path=str(folder / "rows.parquet"), timestamp_field="at")
    view = FeatureView(
        name="bench",
        entities=[player],
        ttl=timedelta(days=900),
        schema=[Field(name=name, dtype=Float64) for name in names],
        source=PushSource(name="pushed", batch_source=batch),
        online=True,
    )
    store.apply([player, view])
    began = time.perf_counter()
    store.write_to_online_store("bench", rows)
    rows_per_s = len(rows) / (time.perf_counter() - began)
    wanted = [f"bench:{name}" for name in names]

    def read(count: int) -> float:
        asked = [{"player": f"player-{number}"} for number in random.integers(ENTITIES, size=count).tolist()]
        start = time.perf_counter()
        store.get_online_features(features=wanted, entity_rows=asked).to_dict()
        return (time.perf_counter() - start) * 1e6

    def push() -> float:
        row = frame(random, names, [f"player-{int(random.integers(ENTITIES))}"])
        start = time.perf_counter()
        store.push("pushed", row)
        return (time.perf_counter() - start) * 1e3

    found = {
        "version": feast.__version__,
        "one_us": float(np.median([read(1) for _ in range(ONES)][ONES // 10 :])),
        "many_us": float(np.median([read(100) for _ in range(MANIES)][MANIES // 10 :])),
        "push_ms": float(np.median([push() for _ in range(PUSHES)][PUSHES // 10 :])),
        "rows_per_s": rows_per_s,
    }
    print(json.dumps(found))


def frame(random: np.random.Generator, names: list[str], players: list[str]) -> pd.DataFrame:
    """A row of random features for each player, as of now."""
    values = {name: random.random(len(players)) for name in names}
    return pd.DataFrame({"player": players, **values, "at": pd.to_datetime([datetime.now(UTC)] * len(players))})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
