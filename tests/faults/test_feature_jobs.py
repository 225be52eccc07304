"""Feature jobs killed at any moment: what they left is readable, and run again they give what they would have given."""

import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from features.backfill import read_backfilled
from features.tiles import Tiles
from storage.tables import Tables
from tests.faults.materializer import work
from tests.features.test_backfill import NEW, decide
from tests.features.test_materialize import add, batch

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("FAULT_KILLS", "20"))
"""How often a job is killed; the long form is FAULT_KILLS=240."""


def test_killed_feature_jobs_go_on_where_they_were(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    tables = Tables(tmp_path / "tables")
    for number in range(4):
        add(tables, batch(number + 1, 2 * number, 2), f"part{number}")
        decide(tables, number, 2 * number)
    began = time.monotonic()
    work(tmp_path / "tables", tmp_path / "whole")
    length_s = time.monotonic() - began
    expected = Tiles(tmp_path / "whole" / "tiles").digest(), read_backfilled(tmp_path / "whole" / "backfill", NEW)

    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.faults.materializer"])
    killed = finished = 0
    root = tmp_path / "killed"
    while killed < KILLS:
        job = server.Process(target=work, args=(tmp_path / "tables", root))
        job.start()
        job.join(chance.uniform(0.0, length_s))
        job.kill()
        job.join()
        killed += job.exitcode != 0
        half, rows = Tiles(root / "tiles"), read_backfilled(root / "backfill", NEW)
        half.digest()
        assert rows.equals(expected[1].join(rows.select("row_id"), on="row_id", how="semi"))
        if job.exitcode == 0 or chance.random() < 0.2:
            work(tmp_path / "tables", root)
            assert Tiles(root / "tiles").digest() == expected[0]
            assert read_backfilled(root / "backfill", NEW).equals(expected[1])
            shutil.rmtree(root)
            finished += 1
    work(tmp_path / "tables", root)
    assert Tiles(root / "tiles").digest() == expected[0]
    print(f"{killed} kills, {finished} runs to the end")
