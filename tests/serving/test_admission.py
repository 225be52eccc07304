import pytest

from contracts.errors import DeadlinePassed, Overloaded, TooMany
from serving.admission import Admission

HEADERS = dict[bytes, bytes]


class Times:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 100_000.0

    def us(self) -> int:
        return round(self.seconds * 1e6)

    def s(self) -> float:
        return self.seconds


@pytest.fixture
def times() -> Times:
    return Times()


def made(times: Times, most: int = 8, deadline_s: float = 2.0, per_key_s: float = 0.0) -> Admission:
    return Admission(most, deadline_s, lambda key: per_key_s, times.us, times.s)


def test_a_request_that_waited_too_long_is_not_begun(times: Times) -> None:
    admission = made(times)
    with pytest.raises(DeadlinePassed, match=r"waited 2\.5 s, and 2 s is the most"):
        admission.enter("a", b"%d" % (times.us() - 2_500_000))
    assert admission.under_way == 0
    admission.enter("a", b"%d" % (times.us() - 1_900_000))
    assert admission.under_way == 1


@pytest.mark.parametrize("said", [None, b"", b"0", b"soon", b"-5", b"t=5", b"9" * 400, b"9" * 19])
def test_a_start_that_is_no_moment_of_the_past_is_passed_over(times: Times, said: bytes | None) -> None:
    made(times).enter("a", said)


def test_no_key_takes_the_last_places(times: Times) -> None:
    admission = made(times)
    for _ in range(6):
        admission.enter("greedy")
    with pytest.raises(TooMany, match="its share is 6") as caught:
        admission.enter("greedy")
    assert caught.value.policy == '"share";q=6;qu="concurrent-requests"'
    admission.enter("modest")
    admission.enter("modest")
    with pytest.raises(Overloaded, match="8 requests are under way"):
        admission.enter("another")
    with pytest.raises(TooMany, match="has 6 requests under way, and its share is 3"):
        admission.enter("greedy")


def test_a_greedy_key_falls_back_to_its_share(times: Times) -> None:
    admission = made(times)
    for _ in range(6):
        admission.enter("greedy")
    admission.enter("modest")
    admission.leave("greedy")
    with pytest.raises(TooMany):
        admission.enter("greedy")
    for _ in range(3):
        admission.leave("greedy")
    admission.enter("greedy")
    admission.enter("modest")
    assert admission.under_way == 5


def test_who_left_holds_nothing(times: Times) -> None:
    admission = made(times)
    for _ in range(20):
        admission.enter("a")
        admission.leave("a")
    assert (admission.under_way, admission._of_key) == (0, {})


def test_a_quota_is_spent_refused_and_fills_again(times: Times) -> None:
    admission = made(times, most=100, per_key_s=4)
    left = [dict(admission.enter("a"))[b"ratelimit"] for _ in range(4)]
    assert left == [b'"rate";r=3;t=1', b'"rate";r=2;t=1', b'"rate";r=1;t=1', b'"rate";r=0;t=1']
    with pytest.raises(TooMany, match="may ask 4 times a second") as caught:
        admission.enter("a")
    assert (caught.value.policy, caught.value.retry_after_s) == ('"rate";q=4;w=1', 1)
    assert dict(admission.enter("b"))[b"ratelimit"] == b'"rate";r=3;t=1'
    times.seconds += 0.25
    assert dict(admission.enter("a"))[b"ratelimit"] == b'"rate";r=0;t=1'
    assert admission.under_way == 6


@pytest.mark.parametrize("rate, pause_s", [(0.5, 2), (0.3, 4), (1.0, 1)])
def test_a_key_may_ask_less_than_once_a_second(times: Times, rate: float, pause_s: int) -> None:
    admission = made(times, most=100, per_key_s=rate)
    for _ in range(3):
        assert dict(admission.enter("a"))[b"ratelimit-policy"] == b'"rate";q=1;w=%d' % pause_s
        with pytest.raises(TooMany) as caught:
            admission.enter("a")
        times.seconds += caught.value.retry_after_s
