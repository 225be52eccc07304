from pathlib import Path

from contracts.clock import DAY_US, HOUR_US
from features.compaction import compact, size
from features.state import decode
from tests.features.shop import FEATURES, NOON, ONLINE, Stores, profile, purchase


def test_idle_states_shrink_and_read_alike(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    stores.take([profile(500, "idle", NOON), *(purchase(number, "idle", NOON + number * HOUR_US) for number in range(40))])
    stores.take([purchase(900 + number, "busy", NOON + 9 * DAY_US + number) for number in range(40)])
    stores.take([purchase(990, "damaged", NOON)])
    stores.spoil("damaged")
    before = {name: size(stores.journal, "shop", name) for name in ("idle", "busy")}
    now = NOON + 9 * DAY_US + HOUR_US
    expected = ONLINE.read(stores.journal.get_state("shop", "idle"), FEATURES, now, {})

    report = compact(stores.journal, "shop", ONLINE, now)

    assert (report.entities, report.compacted, report.damaged) == (3, 1, ("damaged",))
    after = stores.journal.get_state("shop", "idle")
    assert size(stores.journal, "shop", "idle") < before["idle"] / 2
    assert size(stores.journal, "shop", "busy") == before["busy"] == report.largest_bytes
    assert report.largest == "busy"
    assert report.total_bytes == sum(size(stores.journal, "shop", name) for name in ("idle", "busy", "damaged"))
    assert {name: len(rows.event_times()) for name, rows in decode(after).types.items()} == {"profile": 1, "purchase": 1}
    found = ONLINE.read(after, FEATURES, now, {})
    assert (found.values.tolist(), found.missing, found.ages_us.tolist()) == (
        expected.values.tolist(), expected.missing, expected.ages_us.tolist(),
    )  # fmt: skip
    assert compact(stores.journal, "shop", ONLINE, now).compacted == 0
    stores.journal.close()


def test_without_states_there_is_nothing_to_say(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    report = compact(stores.journal, "shop", ONLINE, NOON)
    assert (report.entities, report.total_bytes, report.largest) == (0, 0, "")
    assert size(stores.journal, "shop", "p-1") == 0
    stores.journal.close()
