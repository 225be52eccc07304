"""`offerloop experiments`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from cli.here import clock_of, layout_of, ledger_of, settings_of
from cli.output import console, json_option, moment, print_json, print_table
from cli.plots import Band, bands
from contracts.traffic import CHAMPION
from decisions.sample_ratio import ALARM
from decisions.verdict import rail_words
from storage.tables import Tables
from training.comparison import Conclusion
from training.experiment import ArmState, Experiment, Figure, Look, Sources, looks, state_of
from use_cases.definition import load

KINDS = ("learned", "best", "other", "control")
"""Colours of arms in the plot, in order."""


@click.command()
@click.argument("use_case", required=False)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write gains over the champion, day by day, as SVG.")
@json_option
@click.pass_context
def experiments(context: click.Context, use_case: str | None, plot: Path | None, as_json: bool) -> int:
    """Say what every arm earns, by bounds that hold whenever one looks; what is concluded, how far along it is, how the shadow would do."""
    settings = settings_of(context)
    layout, now_us = layout_of(settings), clock_of(settings).now_us()
    found: list[Experiment] = []
    course: dict[str, Mapping[str, Sequence[Look]]] = {}
    with ledger_of(settings) as ledger:
        for name in [use_case] if use_case else settings.use_cases:
            sources = Sources(load(name), Tables(layout.tables), layout.bundles, ledger, now_us)
            state = state_of(sources)
            if state is not None:
                found.append(state)
                course[name] = looks(sources) if plot else {}
    if plot is not None:
        plot.write_text(_drawn(found, course), encoding="utf-8")
    if as_json:
        print_json(found)
        return 0
    for state in found:
        _say(state)
    if not found:
        console().print("Nothing is released yet.")
    return 0


def _say(state: Experiment) -> None:
    unit = f"{state.unit} a decision"
    columns = (
        "arm",
        "release",
        "share#",
        "decisions#",
        "entities#",
        f"{unit}, at any look",
        "above control",
        "above the champion",
        "foreseen",
    )
    rows = [
        (
            arm.arm,
            arm.release_id,
            f"{arm.share:.1%}",
            f"{arm.decisions:,}",
            f"{arm.entities:,}",
            _spell(arm.value),
            _spell(arm.above_control, signed=True),
            _gain(arm.conclusion),
            _spell(arm.forecast),
        )
        for arm in state.arms
    ]
    print_table(f"{state.use_case}: since {moment(state.since_us)}, matured until now", columns, rows)
    if state.control_ratio is not None:
        console().print(_filled("control is", state.control_ratio))
    compared = [arm for arm in state.arms if arm.conclusion is not None]
    for arm in compared:
        _say_conclusion(arm)
    if not compared:
        console().print("Nothing is compared with the champion.")
    if state.shadow is not None:
        _say_shadow(state)
    console().print()


def _say_conclusion(arm: ArmState) -> None:
    conclusion = arm.conclusion
    assert conclusion is not None
    step = conclusion.verdict.step if conclusion.verdict else "keep running"
    console().print(f"[bold]{arm.arm} {arm.release_id}: {step}[/bold]. {conclusion.reason}", soft_wrap=True)
    far = "not known yet how far along" if conclusion.progress is None else f"{conclusion.progress:.0%} of what is planned has come"
    left = f", about {conclusion.days_left:,.1f} days to go" if conclusion.days_left and step == "keep running" else ""
    ratio = _filled("arms are", conclusion.sample_ratio)
    console().print(f"  {conclusion.days:.1f} matured days; {far}{left}; {ratio}", soft_wrap=True)
    for seen in conclusion.verdict.watched if conclusion.verdict else ():
        console().print(f"  guard rail {seen.state}: {rail_words(seen)}", soft_wrap=True)


def _filled(what: str, chance: float) -> str:
    """Whether entities fell into arms as planned, in words."""
    return (
        f"{what} filled as planned (p = {chance:.3g})" if chance >= ALARM else f"[red]{what} NOT filled as planned (p = {chance:.1e})[/red]"
    )


def _say_shadow(state: Experiment) -> None:
    shadow = state.shadow
    assert shadow is not None
    if shadow.value is None:
        console().print(f"shadow {shadow.release_id}: too few matured decisions of the champion that it scored")
        return
    value = shadow.value
    above = f", above control {_spell(shadow.above_control, signed=True)}" if shadow.above_control else ""
    console().print(
        f"shadow {shadow.release_id}: {value.dr.value:.4f} [{value.dr.low:.4f}, {value.dr.high:.4f}] {state.unit} a decision, "
        f"above the champion {value.gain.value:+.4f} [{value.gain.low:+.4f}, {value.gain.high:+.4f}]"
        f"{above}; from {value.decisions:,} decisions "
        f"worth {value.dr.effective_n:,.0f}; the champion could have made {value.covered:.1%} of its choices",
        soft_wrap=True,
    )


def _gain(conclusion: Conclusion | None) -> str:
    gain = conclusion.verdict.gain if conclusion is not None and conclusion.verdict is not None else None
    if gain is None:
        return ""
    bounds = gain.bounds(0.95)
    adjusted = f", variance −{gain.reduction:.0%}" if gain.adjusted is not None else ""
    return f"{gain.best.value:+.4f} [{bounds.low:+.4f}, {bounds.high:+.4f}]{adjusted}"


def _spell(figure: Figure | None, *, signed: bool = False) -> str:
    if figure is None:
        return ""
    sign = "+" if signed else ""
    return f"{figure.value:{sign}.4f} [{figure.low:{sign}.4f}, {figure.high:{sign}.4f}]"


def _drawn(states: Sequence[Experiment], course: Mapping[str, Mapping[str, Sequence[Look]]]) -> str:
    drawn = []
    for state in states:
        names = {arm.release_id: arm.arm for arm in state.arms if arm.arm != CHAMPION}
        for place, (release_id, seen) in enumerate(course[state.use_case].items()):
            points = [(look.day, look.gain.value, look.gain.low, look.gain.high) for look in seen]
            drawn.append(Band(f"{state.use_case}, {names.get(release_id, '')} {release_id}", points, KINDS[place % len(KINDS)]))
    words = "Gain over the champion a decision by the end of each day, with bounds that hold at any look and shrink as decisions mature"
    return bands(drawn, ("matured days", "gain over the champion a decision"), words).svg
