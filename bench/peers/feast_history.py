"""Feast's historical join of ready-made rows, a player and day each; run by the peers' interpreter, it times itself."""

import argparse
import json
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType  # type: ignore[import-not-found]
from feast.types import Float64  # type: ignore[import-not-found]

STORES = {"duckdb": {"type": "duckdb"}, "default": {"type": "file"}}


def main() -> None:
    """Join, and print a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", choices=STORES)
    parser.add_argument("--made", help="Parquet of entity_id, event_timestamp and features")
    parser.add_argument("--spine", help="Parquet of entity_id and event_timestamp")
    parser.add_argument("--out")
    asked = parser.parse_args()
    spine = pd.read_parquet(asked.spine)
    names = [name for name in pd.read_parquet(asked.made).columns if name not in ("entity_id", "event_timestamp")]
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(
            config=RepoConfig(
                project="bench",
                provider="local",
                registry=str(Path(folder) / "registry.db"),
                offline_store=STORES[asked.store],
                online_store=None,
                entity_key_serialization_version=3,
            )
        )
        player = Entity(name="player", join_keys=["entity_id"], value_type=ValueType.STRING)
        view = FeatureView(
            name="days",
            entities=[player],
            ttl=timedelta(days=400),
            schema=[Field(name=name, dtype=Float64) for name in names],
            source=FileSource(path=asked.made, timestamp_field="event_timestamp"),
        )
        store.apply([player, view])
        began = time.perf_counter()
        found = store.get_historical_features(entity_df=spine, features=[f"days:{name}" for name in names]).to_df()
        found.to_parquet(asked.out)
        seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rows": len(found)}))


if __name__ == "__main__":
    main()
