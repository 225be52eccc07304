from pathlib import Path

from contracts.clock import HOUR_US
from features.store import StateStore, read_entities, read_entity
from tests.features.shop import FEATURES, NOON, ONLINE, Stores, profile, purchase


def test_the_journal_is_a_store_of_states(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    store: StateStore = stores.journal
    stores.take([profile(1, "a", NOON), purchase(2, "a", NOON + 1), purchase(3, "b", NOON + 2)])
    moment = NOON + HOUR_US
    many = read_entities(store, ONLINE, "shop", FEATURES, ["b", "nobody", "a"], moment)
    assert many.names == FEATURES.names
    assert many.values.tolist() == [[1, 3, -1], [0, 0, -1], [1, 2, 1]]
    assert many.seen_seq.tolist() == [1, 0, 2]
    one = read_entity(store, ONLINE, "shop", FEATURES, "a", moment, {})
    assert (one.values.tolist(), one.seen_seq) == ([1, 2, 1], 2)
    nobody = read_entity(store, ONLINE, "shop", FEATURES, "nobody", moment, {})
    assert (nobody.missing, many.row(1).missing) == (FEATURES.names, FEATURES.names)
    state = store.get_state("shop", "a")
    assert state is not None
    store.write(lambda write: write.put_state("shop", "c", state))
    assert store.get_state("shop", "c") == state
    stores.journal.close()
