"""Files that count no longer stay for an hour, counted from when they were retired."""

import os
import time
from pathlib import Path

from storage.files import GRACE_S, retire, sweep


def test_files_are_swept_an_hour_after_they_were_retired(tmp_path: Path) -> None:
    names = ("kept.parquet", "retired.parquet", "old.parquet", "other.txt", ".half.parquet.12.tmp")
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, time.time() - GRACE_S - 9))
    retire([tmp_path / "retired.parquet", tmp_path / "gone.parquet"])
    sweep(tmp_path, {"kept.parquet"}, ".parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.parquet", "other.txt", "retired.parquet"]
