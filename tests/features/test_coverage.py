from pathlib import Path

from features.coverage import NOTHING, Coverage, cover, keep, read_coverage
from tests.features.shop import NOON, Stores, purchase


def test_what_is_kept_is_covered_at_once_only_where_nothing_was_ever_taken(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    with stores.journal.read() as read:
        assert read_coverage(read, "shop") == NOTHING
    assert stores.journal.write(lambda write: keep(write, "shop", {"purchase": 5}, empty=True)) == Coverage(
        {"purchase": 5}, {"purchase": 5}
    )
    stores.take([purchase(1, "a", NOON)])
    kept = stores.journal.write(lambda write: keep(write, "shop", {"purchase": 9, "profile": 3}, empty=True))
    assert kept == Coverage({"purchase": 9, "profile": 3}, {"purchase": 5})
    assert kept.covers({"purchase": 4}) and kept.covers({"profile": 0}) and not kept.covers({"purchase": 6})
    assert not stores.journal.write(lambda write: keep(write, "another", {"purchase": 5}, empty=False)).covers({"purchase": 1})
    done = stores.journal.write(lambda write: cover(write, "shop", {"purchase": 9, "profile": 3}))
    assert done.covers({"purchase": 9, "profile": 3})
    with stores.journal.read() as read:
        assert read_coverage(read, "shop") == done
    stores.journal.close()
