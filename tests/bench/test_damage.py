import math
import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import damage
from bench.damage import Trial
from client.messages import Answer
from storage.layout import Layout
from use_cases.definition import load


def trial(folder: Path) -> Trial:
    running: Any = SimpleNamespace(
        desk=SimpleNamespace(layout=Layout(folder)),
        settings=SimpleNamespace(store=SimpleNamespace(map_size_bytes=2**20)),
        address="http://127.0.0.1:9",
        key="none",
    )
    return Trial(running, load("email_promotion"), seed=1)


def test_a_lock_that_nobody_held_is_no_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "journal.lmdb").write_text("a file where a folder should be, so that who is to hold the lock fails")
    # why: a process that is spawned imports for seconds what this one has
    monkeypatch.setattr(damage, "multiprocessing", SimpleNamespace(get_context=lambda _: multiprocessing.get_context("fork")))
    monkeypatch.setattr(Trial, "decide", lambda *_: Answer("d-1", "e1", "none", {}, 1.0, "r", "control", 1.0, (), 0, 0))
    tried = trial(tmp_path)
    assert math.isinf(tried.locked(stopped=False))
    assert tried.refused_locked == [0]
