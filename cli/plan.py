"""`offerloop plan`."""

from dataclasses import dataclass

import click

from cli.here import clock_of, layout_of, ledger_of, settings_of
from cli.options import GAIN, Size
from cli.output import console, json_option, print_json, print_table
from contracts.errors import InvalidInput
from contracts.settings import Settings
from decisions.planning import MOST_DAYS, Planned, Traffic, visible_gain
from decisions.planning import plan as planned_for
from storage.tables import Tables
from training.comparison import Conclusion
from training.experiment import Sources, state_of
from training.pilot import Pilot, pilot
from use_cases.definition import UseCase, load


@dataclass(frozen=True, slots=True)
class _Known:
    """What is planned from: the log's pilot, or what was given; `units` are what there are so many of a day."""

    traffic: Traffic
    unit: str
    a_day: float
    random_costs: float | None
    pilot: Pilot | None = None


@click.command()
@click.argument("use_case")
@click.option("--gain", type=GAIN, help="To be seen: 5% of what the champion earns, or 0.02 of the KPI's unit. By default the use case's.")
@click.option("--power", type=click.FloatRange(0.5, 0.999), default=0.8, show_default=True, help="The chance to see it, if it is real.")
@click.option("--confidence", type=click.FloatRange(0.5, 0.9999, min_open=True), help="One-sided. By default that of the use case's gate.")
@click.option("--share", type=click.FloatRange(0.001, 0.999), default=0.5, show_default=True, help="Of the challenger, outside control.")
@click.option("--days", type=click.FloatRange(0.0, min_open=True), help="Say instead what gain so many days show.")
@click.option("--mean", type=float, help="Reward a player, where there is no log to go by.")
@click.option("--sd", type=click.FloatRange(0.0, min_open=True), help="Its standard deviation between players.")
@click.option("--players-per-day", type=click.FloatRange(0.0, min_open=True), help="Others each day, outside control.")
@click.option("--random-cost", type=float, help="What a random offer earns less. By default what the log says.")
@click.option("--log-days", type=click.FloatRange(0.0, min_open=True), default=28.0, show_default=True, help="Of the log to go by.")
@json_option
@click.pass_context
def plan(
    context: click.Context,
    use_case: str,
    gain: Size | None,
    power: float,
    confidence: float | None,
    share: float,
    days: float | None,
    mean: float | None,
    sd: float | None,
    players_per_day: float | None,
    random_cost: float | None,
    log_days: float,
    as_json: bool,
) -> int:
    """Say before a launch how many players and days it takes to see a gain, and what random offers cost; meanwhile, how far along it is."""
    declared = load(use_case)
    sure = confidence or declared.gate.confidence
    given = (mean, sd, players_per_day)
    concluded: tuple[Conclusion, ...] = ()
    if mean is not None and sd is not None and players_per_day is not None:
        known = _Known(Traffic(mean, sd, players_per_day), "players", players_per_day, random_cost)
    elif any(value is not None for value in given):
        raise InvalidInput("--mean, --sd, --players-per-day", "come in part", "all three, or none to go by the installation's log")
    else:
        known, concluded = _read(settings_of(context), declared, log_days, random_cost)
    traffic = known.traffic
    if days is None:
        wanted = (gain or Size(declared.worthwhile_gain, relative=True)).of(traffic.mean)
    else:
        wanted = visible_gain(traffic, days, share=share, power=power, confidence=sure)
    if wanted <= 0.0:
        raise InvalidInput("--gain", f"is {wanted:g} {declared.reward_unit}", "a gain above 0; of a mean of 0 no share can be taken")
    found = planned_for(traffic, wanted, share=share, power=power, confidence=sure)
    if as_json:
        print_json(
            {"use_case": use_case, "traffic": traffic, "plan": found, "random": _random(known, declared, found), "running": concluded}
        )
    else:
        _say(declared, known, found, sure, share, concluded)
    return 0


def _read(settings: Settings, declared: UseCase, log_days: float, random_cost: float | None) -> tuple[_Known, tuple[Conclusion, ...]]:
    layout, clock = layout_of(settings), clock_of(settings)
    with ledger_of(settings) as ledger:
        sources = Sources(declared, Tables(layout.tables), layout.bundles, ledger, clock.now_us())
        found = pilot(sources, log_days)
        state = state_of(sources)
    costs = found.random_costs if random_cost is None else random_cost
    return _Known(found.traffic, "decisions", found.decisions_a_day, costs, found), state.conclusions if state else ()


def _random(known: _Known, declared: UseCase, found: Planned) -> dict[str, float | None]:
    """What exploring costs: a random offer, and all of them until the plan's end by the learned policy's share of them."""
    explored = declared.learned_policy.epsilon
    count = known.a_day * found.days * explored
    costs = known.random_costs
    return {"share": explored, "costs_each": costs, "offers": count, "costs": None if costs is None else costs * count}


def _say(declared: UseCase, known: _Known, found: Planned, sure: float, share: float, concluded: tuple[Conclusion, ...]) -> None:
    unit, traffic = declared.reward_unit, known.traffic
    rows: list[tuple[str, str]] = []
    if known.pilot is not None:
        seen = known.pilot
        rows += [
            ("log gone by", f"{seen.days:.1f} days of the champion's arm"),
            ("players a day, decisions a day", f"{seen.entities_a_day:,.0f}, {seen.decisions_a_day:,.0f}, outside control"),
        ]
    one = "player" if known.unit == "players" else "decision"
    rows += [
        (f"earned a {one}", f"{traffic.mean:.4f} {unit}, standard deviation {traffic.deviation:.4f}"),
        ("variance that known features take away", f"{traffic.reduction:.0%}"),
        (
            "gain to be seen",
            f"{found.gain:+.4f} {unit} a {one} ({found.gain / traffic.mean:+.1%})" if traffic.mean else f"{found.gain:+.4f}",
        ),
        ("confidence, power", f"{sure:.0%} one-sided, {found.power:.0%}; the challenger has {share:.0%}"),
        ("days, at most", _days(found.days)),
        ("days, on average, if the gain is real", _days(found.expected_days)),
        (f"{known.unit} by then, outside control", f"{known.a_day * found.days:,.0f}" if found.days < MOST_DAYS else "never enough"),
        ("looks at any time cost", f"{found.information / found.fixed:.2f} times what one look at a fixed date would need, at most"),
    ]
    random = _random(known, declared, found)
    if random["costs_each"] is not None:
        each = f"{round(random['costs_each'], 4) + 0.0:.4f} {unit} less each"
        if known.unit == "decisions" and found.days < MOST_DAYS:
            each += f"; at {random['share']:.0%} of decisions {round(random['costs'] or 0.0, 2) + 0.0:,.2f} {unit} until then"
        rows.append(("random offers earn", each))
    else:
        rows.append(("random offers earn", "not known: the champion never shows some candidates; or give --random-cost"))
    print_table(f"Plan for {declared.name}", ("what", "how much"), rows)
    for conclusion in concluded:
        far = "not known yet" if conclusion.progress is None else f"{conclusion.progress:.0%} of what is planned has come"
        left = "" if not conclusion.days_left or conclusion.step != "wait" else f", {_days(conclusion.days_left)} days to go"
        console().print(f"running: {conclusion.release_id}, {conclusion.days:.1f} matured days, {far}{left}; {conclusion.reason}")


def _days(days: float) -> str:
    return f"{days:,.1f}" if days < MOST_DAYS else "never: what differs between players for good does not average out"
