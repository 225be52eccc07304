from collections import Counter
from threading import Thread

from serving.entropy import Entropy


def test_draws_are_spread_over_the_unit_interval() -> None:
    entropy = Entropy()
    draws = [entropy.draw() for _ in range(20_000)]
    assert min(draws) >= 0.0 and max(draws) < 1.0
    tenths = Counter(int(draw * 10) for draw in draws)
    # why: each tenth holds 2,000 of them, with a standard deviation of 42
    assert all(1_700 < tenths[tenth] < 2_300 for tenth in range(10))


def test_ids_are_distinct_across_threads_and_ordered_by_time() -> None:
    entropy = Entropy()
    ids: list[str] = []
    threads = [Thread(target=lambda: ids.extend(entropy.new_id("d-") for _ in range(2_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 8_000
    assert {len(name) for name in ids} == {30}
    assert sorted(name[2:14] for name in ids)[0] <= entropy.new_id("d-")[2:14]
