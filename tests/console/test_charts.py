import re

import pytest

from serving.console.charts import WIDTH, Part, Scale, Stretch, bar, courses, interval, meter, scale_of
from storage.measures import Interval


def test_a_scale_holds_all_and_zero_but_what_is_far_wider_than_the_rest() -> None:
    usual = [Interval(1.0, 0.9, 1.1), Interval(1.2, 1.1, 1.3), Interval(1.1, 1.0, 1.2)]
    scale = scale_of(usual)
    assert scale.low < 0.0 and scale.high > 1.3
    assert scale_of([*usual, Interval(1.0, -90.0, 90.0)]) == scale


@pytest.mark.parametrize("spreads", [[], [None], [Interval(0.0, 0.0, 0.0)], [Interval(5.0, None, None)]])
def test_a_scale_of_little_is_a_scale(spreads: list[Interval | None]) -> None:
    scale = scale_of(spreads)
    assert scale.low < scale.high


def test_what_lies_outside_is_kept_within_the_drawing() -> None:
    scale = Scale(0.0, 2.0)
    assert [scale.place(value) for value in (-1.0, 0.0, 1.0, 2.0, 9.0)] == [0.0, 0.0, WIDTH / 2, WIDTH, WIDTH]


def test_an_interval_has_a_tick_at_each_end_that_it_shows() -> None:
    scale = Scale(-1.0, 1.0)
    assert interval(scale, Interval(0.0, -0.5, 0.5)).count('class="end') == 2
    assert interval(scale, Interval(0.0, -0.5, None)).count('class="end') == 1
    assert interval(scale, Interval(0.0, -5.0, 5.0)).count('class="end') == 0
    assert "reach" not in interval(scale, None)


def test_bars_reach_from_zero_to_either_side() -> None:
    scale = Scale(-1.0, 1.0)
    left, right = (re.findall(r'x="([\d.]+)" width="([\d.]+)"', bar(scale, value))[0] for value in (-0.5, 0.5))
    assert left == ("250.0", "250.0") and right == ("500.0", "250.0")


def test_shares_fill_the_height_and_rollbacks_are_marked() -> None:
    stretches = [Stretch(0.0, 5.0, (Part(0.2, -1), Part(0.8, 0))), Stretch(5.0, 10.0, (Part(0.2, -1), Part(0.8, 1)))]
    drawn = courses(stretches, Scale(0.0, 10.0), [5.0], "<who>")
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"', drawn)]
    assert sum(heights) == pytest.approx(2 * 160.0)
    assert drawn.count('class="mark"') == 1
    assert 'aria-label="&lt;who&gt;"' in drawn and "style=" not in drawn


def test_a_meter_is_never_more_than_full() -> None:
    assert 'width="1000.0"' in meter(7.0) and 'width="0.0"' in meter(-1.0)
