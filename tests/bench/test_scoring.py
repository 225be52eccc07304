from bench.scoring import _figures, _Found


def found(seconds: float) -> _Found:
    """Of a contender that takes so long where `Booster.predict` takes one second."""
    return _Found([1.0, 1.0, 1.0], [seconds] * 3, 0)


def test_what_a_release_begins_to_serve_with_is_held_against_what_is_asked_at_once() -> None:
    others = {name: found(0.1) for name in ("compiled", "recalled")}
    at_once, compiled, recalled, differing = _figures({"at once": found(0.95), **others})
    assert round(at_once.value, 2) == 1.05 and not at_once.ok
    assert compiled.ok and recalled.ok and differing.ok
