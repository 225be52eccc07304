"""The Grafana dashboard of an installation, built from the table of metrics."""

from collections.abc import Iterator

from contracts.metrics import (
    ACCEPTED,
    ACTIONS,
    CANARY_LIMIT,
    CANARY_PROGRESS,
    CANARY_STEP,
    CANARY_STOPS,
    DECISION_SECONDS,
    DECISIONS,
    DEGRADED,
    DUPLICATES,
    EXPERIMENT_GAIN,
    EXPERIMENT_PROGRESS,
    EXPERIMENT_VERDICT,
    FAILED,
    FEATURE_AGE_SECONDS,
    FORECAST,
    GAIN,
    GUARD_RAIL,
    INBOX_ROWS,
    LOG_REFUSES,
    MATURED,
    MONITOR_AGE_SECONDS,
    NOT_AS_DECLARED,
    PLAN_VERSION,
    QUARANTINED,
    RELEASES,
    RELEASES_REFUSED,
    REPLICA_PLAN_VERSION,
    REQUEST_SECONDS,
    REQUESTS,
    REWARD,
    SAMPLE_RATIO,
    SCORER_COMPILED,
    SERVICE_UP,
    SHADOW_GAIN,
    SHADOW_SCORED,
    SIGN_OFF_WAITING,
    SKEW_ROWS,
    STATE_BYTES,
    STATES,
    TABLE_AGE_SECONDS,
    TABLE_ROWS,
    TRAFFIC_SHARE,
    Metric,
)
from monitoring.panels import DATA_SOURCE, Json, Panel, Query, figure, lay_out

UID = "offerloop"
TITLE = "Offerloop"
FOLDER_UID = "offerloop"
CHOSEN = 'use_case=~"$use_case"'


def _rate(metric: Metric, by: str = "", where: str = CHOSEN) -> str:
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({metric.series}{{{where}}}[$__rate_interval]))"


def _or_none(expression: str) -> str:
    """Zero where nothing of the kind ever happened."""
    return f"{expression} or on() vector(0)"


def _quantile(share: float, metric: Metric, where: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({metric.series}_bucket{{{where}}}[$__rate_interval])))"


def _share(part: str, whole: str) -> str:
    return f"({_or_none(part)}) / clamp_min({_or_none(whole)}, 1e-9)"


_FAILED = _rate(REQUESTS, where='status=~"5.."')
_DECIDING = 'route="decisions"'

NOW = (
    figure("Decisions", "New decisions a second.", _or_none(_rate(DECISIONS)), "reqps"),
    figure(
        "Slow answers",
        "99 of 100 decisions are answered within.",
        _quantile(0.99, REQUEST_SECONDS, _DECIDING),
        "s",
        ((0.1, "orange"), (0.5, "red")),
    ),
    figure(
        "Failed",
        "Share of requests answered with a status from 500.",
        _share(_FAILED, _rate(REQUESTS, where="")),
        "percentunit",
        ((0.001, "red"),),
    ),
    figure(
        "Degraded",
        "Share of decisions not made as declared.",
        _share(_rate(DEGRADED), _rate(DECISIONS)),
        "percentunit",
        ((0.01, "orange"), (0.1, "red")),
    ),
    figure("Replicas", "Processes that answer.", f"max(count by (use_case) ({REPLICA_PLAN_VERSION.series})) or vector(0)"),
    figure(
        "Log refuses",
        "Replicas that can log nothing now.",
        f"max(sum by (use_case) ({LOG_REFUSES.series})) or vector(0)",
        limits=((1, "red"),),
    ),
    figure("Down", "Services of the installation that do not run.", f"count({SERVICE_UP.series} == 0) or vector(0)", limits=((1, "red"),)),
)

ANSWERS = (
    Panel(
        "Decisions by arm",
        "New decisions a second.",
        (Query(_or_none(_rate(DECISIONS, "use_case, arm")), "{{use_case}} {{arm}}"),),
        unit="reqps",
    ),
    Panel(
        "Latency of a decision",
        "From the request's last byte to its answer, the durable log included.",
        tuple(Query(_quantile(share, REQUEST_SECONDS, _DECIDING), f"p{share * 100:.0f}") for share in (0.5, 0.95, 0.99)),
        unit="s",
    ),
    Panel("Answers by status", "Requests a second.", (Query(_or_none(_rate(REQUESTS, "status", where="")), "{{status}}"),), unit="reqps"),
    Panel(
        "Degraded decisions",
        "By reason, a second.",
        (Query(_or_none(_rate(DEGRADED, "use_case, reason")), "{{use_case}} {{reason}}"),),
        unit="reqps",
    ),
    Panel(
        "Age of features",
        "Age of the oldest feature of a decision, on the installation's clock.",
        tuple(Query(_quantile(share, FEATURE_AGE_SECONDS, CHOSEN), f"p{share * 100:.0f}") for share in (0.5, 0.95)),
        unit="s",
    ),
    Panel("Actions", "What was decided, a second.", (Query(_or_none(_rate(ACTIONS, "action")), "{{action}}"),), unit="reqps", stacked=True),
)

MONEY = (
    Panel(
        "Reward a decision",
        "Mean of matured decisions by arm and release, with 95 % bounds that hold at any look, in the use case's unit.",
        (Query(f"{REWARD.series}{{{CHOSEN}}}", "{{arm}} {{release_id}} {{bound}}"),),
        width=12,
    ),
    Panel(
        "Gain over control",
        "Mean reward a decision above control's, with bounds that hold at any look: clear of zero, it earns.",
        (Query(f"{GAIN.series}{{{CHOSEN}}}", "{{arm}} {{release_id}} {{bound}}"),),
        width=12,
    ),
    Panel(
        "Forecast against what came",
        "The value that the gate foresaw for a release, and the reward of its arms since.",
        (
            Query(f"{FORECAST.series}{{{CHOSEN}}}", "forecast {{release_id}} {{bound}}"),
            Query(f'{REWARD.series}{{{CHOSEN},bound="estimate"}}', "came {{arm}} {{release_id}}"),
        ),
        width=12,
    ),
    Panel(
        "Matured decisions", "Those whose reward is final.", (Query(f"{MATURED.series}{{{CHOSEN}}}", "{{arm}} {{release_id}}"),), width=12
    ),
)

COMPARED = (
    Panel(
        "Gain over the champion",
        "Mean reward a decision of an arm above the champion's, with bounds that hold at any look: clear of zero, it is decided.",
        (Query(f"{EXPERIMENT_GAIN.series}{{{CHOSEN}}}", "{{arm}} {{release_id}} {{bound}}"),),
        width=12,
    ),
    Panel(
        "Verdict",
        "What is concluded of each arm.",
        (Query(f"{EXPERIMENT_VERDICT.series}{{{CHOSEN}}} == 1 or on() vector(0)", "{{use_case}} {{arm}} {{verdict}}"),),
    ),
    Panel(
        "How far along",
        "Share of the planned information that has come.",
        (Query(f"{EXPERIMENT_PROGRESS.series}{{{CHOSEN}}}", "{{use_case}} {{arm}}"),),
        unit="percentunit",
    ),
    Panel(
        "Arms filled as planned",
        "Bound on the chance that entities fall into arms so unevenly: an alarm below 0.001.",
        (Query(f"{SAMPLE_RATIO.series}{{{CHOSEN}}}", "{{use_case}} {{arm}}"),),
    ),
    Panel(
        "Guard rails",
        "1 holds for sure, 0 open, -1 broken.",
        (Query(f"{GUARD_RAIL.series}{{{CHOSEN}}}", "{{use_case}} {{arm}} {{metric}}"),),
    ),
    Panel(
        "The shadow beside the champion",
        "What the release in the shadow would earn a decision above the champion, from the champion's own log.",
        (Query(f"{SHADOW_GAIN.series}{{{CHOSEN}}}", "{{release_id}} {{bound}}"),),
    ),
)

RELEASED = (
    Panel(
        "Traffic",
        "Share of all entities.",
        (Query(f"{TRAFFIC_SHARE.series}{{{CHOSEN}}}", "{{arm}} {{release_id}}"),),
        unit="percentunit",
        stacked=True,
    ),
    Panel(
        "Traffic plan",
        "Version in the ledger, and the lowest and highest that a replica serves: apart for a second after a change.",
        (
            Query(f"{PLAN_VERSION.series}{{{CHOSEN}}}", "{{use_case}} ledger"),
            Query(f"min by (use_case) ({REPLICA_PLAN_VERSION.series}{{{CHOSEN}}}) or on() vector(0)", "{{use_case}} lowest"),
            Query(f"max by (use_case) ({REPLICA_PLAN_VERSION.series}{{{CHOSEN}}}) or on() vector(0)", "{{use_case}} highest"),
        ),
    ),
    Panel(
        "Releases by stage", "Where all releases stand.", (Query(f"{RELEASES.series}{{{CHOSEN}}}", "{{use_case}} {{stage}}"),), stacked=True
    ),
    Panel(
        "In the shadow",
        "Decisions a second that a release in the shadow scored, and bundles refused by replicas.",
        (
            Query(_or_none(_rate(SHADOW_SCORED, "use_case, release_id")), "scored {{release_id}}"),
            Query(
                _or_none(f"sum by (use_case) (increase({RELEASES_REFUSED.series}{{{CHOSEN}}}[$__rate_interval]))"), "refused {{use_case}}"
            ),
        ),
    ),
    Panel(
        "Compiled scorers",
        "1 where every replica scores a model by this machine's own kernel, 0 where one does by LightGBM's call, many times slower.",
        (Query(_or_none(f"min by (use_case, release_id) ({SCORER_COMPILED.series}{{{CHOSEN}}})"), "{{use_case}} {{release_id}}"),),
    ),
)

DATA = (
    Panel(
        "Accepted",
        "Events and outcomes a second, and those that had come before.",
        (
            Query(_or_none(_rate(ACCEPTED, "use_case, kind")), "{{use_case}} {{kind}}"),
            Query(_or_none(_rate(DUPLICATES, "use_case, kind")), "{{use_case}} {{kind}} again"),
        ),
        unit="reqps",
    ),
    Panel(
        "Quarantined",
        "Events and outcomes a second.",
        (Query(_or_none(_rate(QUARANTINED, "use_case, kind")), "{{use_case}} {{kind}}"),),
        unit="reqps",
    ),
    Panel(
        "Skew",
        "Decisions whose features were recomputed, and those that differed.",
        (Query(f"{SKEW_ROWS.series}{{{CHOSEN}}}", "{{use_case}} {{result}}"),),
    ),
    Panel(
        "Age of tables",
        "Since the newest row, on the installation's clock.",
        (Query(f"{TABLE_AGE_SECONDS.series}{{{CHOSEN}}}", "{{use_case}} {{table}}"),),
        unit="s",
    ),
    Panel("Rows of tables", "What was drained so far.", (Query(f"{TABLE_ROWS.series}{{{CHOSEN}}}", "{{use_case}} {{table}}"),)),
    Panel(
        "Feature states", "Entities that have one, when they were last compacted.", (Query(f"{STATES.series}{{{CHOSEN}}}", "{{use_case}}"),)
    ),
    Panel(
        "Size of feature states",
        "Of all, the middle one, one in a hundred, the largest.",
        (Query(f"{STATE_BYTES.series}{{{CHOSEN}}}", "{{use_case}} {{size}}"),),
        unit="bytes",
    ),
    Panel("Triggers", "Rows of the inbox by what became of them.", (Query(INBOX_ROWS.series, "{{status}}"),)),
    Panel("Services", "1 while it runs.", (Query(SERVICE_UP.series, "{{service}}"),)),
    Panel("Age of the measurements", "Since the flow `monitor` last ran.", (Query(MONITOR_AGE_SECONDS.series, "age"),), unit="s"),
)


def _by_arm(part: Metric) -> str:
    whole = f"clamp_min({_rate(DECISIONS, 'use_case, arm')}, 1e-9)"
    return _or_none(f"{_rate(part, 'use_case, arm')} / {whole}")


STEPPED = (
    Panel(
        "Step of the canary",
        "Which step of its roll-out, from 1; 0 without a canary. And what its step takes at least that has come.",
        (
            Query(f"{CANARY_STEP.series}{{{CHOSEN}}}", "{{use_case}} step"),
            Query(f"{CANARY_PROGRESS.series}{{{CHOSEN}}}", "{{use_case}} {{what}}"),
        ),
    ),
    Panel(
        "Limits of the canary",
        "What its figure is for sure, as a share of what it may be: above 1 it is stopped.",
        (Query(f"{CANARY_LIMIT.series}{{{CHOSEN}}}", "{{use_case}} {{limit}}"),),
        unit="percentunit",
    ),
    Panel(
        "Stopped, and waiting for people",
        "Canaries that were stopped, by whom; releases that wait for a sign-off.",
        (
            Query(f"{CANARY_STOPS.series}{{{CHOSEN}}}", "{{use_case}} stopped by {{actor}}"),
            Query(f"{SIGN_OFF_WAITING.series}{{{CHOSEN}}}", "{{use_case}} wait for a sign-off"),
        ),
    ),
    Panel("Failed by arm", "Decisions that could not be made, for each that was.", (Query(_by_arm(FAILED), "{{use_case}} {{arm}}"),)),
    Panel(
        "Degraded by arm",
        "Share of an arm's decisions not made as declared.",
        (Query(_by_arm(NOT_AS_DECLARED), "{{use_case}} {{arm}}"),),
        unit="percentunit",
    ),
    Panel(
        "Latency by arm",
        "99 of 100 decisions of an arm are made and durable within.",
        (
            Query(
                f"histogram_quantile(0.99, sum by (use_case, arm, le) "
                f"(rate({DECISION_SECONDS.series}_bucket{{{CHOSEN}}}[$__rate_interval])))",
                "{{use_case}} {{arm}}",
            ),
        ),
        unit="s",
    ),
)

CHANGED = f"changes({PLAN_VERSION.series}{{{CHOSEN}}}[2m]) > 0"
"""True around each change of the traffic plan: a release going live, growing, or being rolled back."""


def dashboard() -> Json:
    """The dashboard, as Grafana takes it."""
    changes = {
        "name": "Releases",
        "datasource": dict(DATA_SOURCE),
        "enable": True,
        "hide": False,
        "iconColor": "purple",
        "expr": CHANGED,
        "step": "30s",
        "titleFormat": "Traffic plan of {{use_case}} changed",
        "tagKeys": "use_case",
    }
    chosen = {
        "name": "use_case",
        "label": "Use case",
        "type": "query",
        "datasource": dict(DATA_SOURCE),
        "query": f"label_values({PLAN_VERSION.series}, use_case)",
        "definition": f"label_values({PLAN_VERSION.series}, use_case)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": "All", "value": "$__all"},
    }
    rows = {
        "Now": NOW,
        "Answers": ANSWERS,
        "Money": MONEY,
        "Experiments": COMPARED,
        "Releases": RELEASED,
        "Roll-out": STEPPED,
        "Data and services": DATA,
    }
    return {
        "uid": UID,
        "title": TITLE,
        "description": "What Offerloop decides, what came of it, which release serves, and what runs.",
        "tags": ["offerloop"],
        "timezone": "utc",
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "schemaVersion": 42,
        "panels": lay_out(rows),
        "templating": {"list": [chosen]},
        "annotations": {"list": [changes]},
    }


def expressions(board: Json) -> Iterator[tuple[str, str]]:
    """Title and expression of every query of a dashboard's panels."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
