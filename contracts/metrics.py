"""Every metric of Offerloop: its name, type, help, labels and who gives it. Serving and monitoring read this one table."""

from dataclasses import dataclass
from enum import StrEnum

ROUTES = ("decisions", "decisions_batch", "events", "outcomes", "hooks", "decision", "status")
BOUNDS = ("estimate", "low", "high")
"""Values of the label `bound` of a figure with an interval."""
VERDICTS = ("ship", "stop", "keep running")
"""Values of the label `verdict` of an experiment."""
STEP_NEEDS = ("time", "decisions")
"""Values of the label `what` of how far a canary's step is."""
LIMITS = ("failed", "degraded", "latency")
"""Values of the label `limit` of a canary."""
STOPPERS = ("flow guard", "flow rollout", "flow monitor")
"""Values of the label `actor` of canaries that were stopped."""
SIZES = ("total", "median", "p99", "largest")
"""Values of the label `size` of feature states."""


class MetricType(StrEnum):
    """A metric's type, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Who gives a metric: the replicas, through Ray, or the exporter, from tables and ledger."""

    SERVING = "serving"
    EXPORTER = "exporter"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Durations are in seconds; a counter's name ends in `_total`.

    Attributes:
        buckets: upper bounds of a histogram.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...]
    source: Source
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> str:
        """Its name in Prometheus: Ray puts `ray_` before what replicas give.

        Example:
            >>> DECISIONS.series
            'ray_offerloop_decisions_total'
        """
        return f"ray_{self.name}" if self.source is Source.SERVING else self.name


_LATENCY = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_AGES = (1.0, 10.0, 60.0, 600.0, 3_600.0, 6 * 3_600.0, 86_400.0, 3 * 86_400.0, 7 * 86_400.0, 14 * 86_400.0, 30 * 86_400.0, 90 * 86_400.0)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, MetricType.COUNTER, text, labels, Source.SERVING)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, MetricType.GAUGE, text, labels, Source.EXPORTER)


REQUESTS = _counter("offerloop_requests_total", "Requests answered, by route and HTTP status.", "route", "status")
REQUEST_SECONDS = Metric(
    "offerloop_request_seconds",
    MetricType.HISTOGRAM,
    "Time from a request's last byte to its answer.",
    ("route",),
    Source.SERVING,
    _LATENCY,
)
DECISIONS = _counter("offerloop_decisions_total", "New decisions made durable.", "use_case", "arm", "release_id")
ACTIONS = _counter("offerloop_actions_total", "New decisions by the action drawn.", "use_case", "action")
DEGRADED = _counter(
    "offerloop_degraded_total", "Decisions not made as declared; the reason is what stands before its colon.", "use_case", "reason"
)
FAILED = _counter("offerloop_failed_decisions_total", "Decisions that could not be made.", "use_case", "arm", "release_id")
NOT_AS_DECLARED = _counter(
    "offerloop_degraded_decisions_total", "Decisions that were degraded, for whatever reasons.", "use_case", "arm", "release_id"
)
DECISION_SECONDS = Metric(
    "offerloop_decision_seconds",
    MetricType.HISTOGRAM,
    "Time until a decision is made and durable, without HTTP.",
    ("use_case", "arm"),
    Source.SERVING,
    _LATENCY,
)
FEATURE_AGE_SECONDS = Metric(
    "offerloop_feature_age_seconds",
    MetricType.HISTOGRAM,
    "Age of the oldest feature that had a value, one observation a decision, in logical seconds.",
    ("use_case",),
    Source.SERVING,
    _AGES,
)
ACCEPTED = _counter("offerloop_accepted_total", "Events and outcomes made durable.", "use_case", "kind")
DUPLICATES = _counter("offerloop_duplicates_total", "Events and outcomes that were accepted before.", "use_case", "kind")
QUARANTINED = _counter("offerloop_quarantined_total", "Events and outcomes put into quarantine.", "use_case", "kind")
SHADOW_SCORED = _counter("offerloop_shadow_scored_total", "Decisions scored by a release in the shadow.", "use_case", "release_id")
RELEASES_REFUSED = _counter("offerloop_releases_refused_total", "Bundles that a replica refused to load.", "use_case")
SCORER_COMPILED = Metric(
    "offerloop_scorer_compiled",
    MetricType.GAUGE,
    "1 where a replica scores a release's model by its own kernel, 0 where by LightGBM's call.",
    ("use_case", "release_id"),
    Source.SERVING,
)
REPLICA_PLAN_VERSION = Metric(
    "offerloop_replica_plan_version", MetricType.GAUGE, "Version of the traffic plan that a replica serves.", ("use_case",), Source.SERVING
)
LOG_REFUSES = Metric(
    "offerloop_log_refuses",
    MetricType.GAUGE,
    "1 while a replica's log takes nothing in: journal or disk nearly full, or a writer that does not come to an end.",
    ("use_case",),
    Source.SERVING,
)

SERVICE_UP = _gauge("offerloop_service_up", "1 while a service of this installation runs.", "service")
PLAN_VERSION = _gauge("offerloop_plan_version", "Version of the traffic plan in the ledger.", "use_case")
TRAFFIC_SHARE = _gauge("offerloop_traffic_share", "Share of all entities that an arm gets.", "use_case", "arm", "release_id")
RELEASES = _gauge("offerloop_releases", "Releases by the stage they stand in.", "use_case", "stage")
CANARY_STEP = _gauge("offerloop_canary_step", "Step of the roll-out that the canary is at, from 1; 0 without one.", "use_case")
CANARY_PROGRESS = _gauge(
    "offerloop_canary_progress", "Share of what a canary's step takes at least that has come.", "use_case", "release_id", "what"
)
CANARY_LIMIT = _gauge(
    "offerloop_canary_limit",
    "What a canary's figure is for sure, as a share of what it may be; above 1 it is stopped.",
    "use_case",
    "release_id",
    "limit",
)
CANARY_STOPS = _gauge("offerloop_canary_stops", "Canaries that were stopped, by whom.", "use_case", "actor")
SIGN_OFF_WAITING = _gauge("offerloop_sign_off_waiting", "Releases in the shadow that wait for a person's sign-off.", "use_case")
LEDGER_NEWEST = _gauge("offerloop_ledger_newest_id", "Id of the newest row of the ledger.", "use_case")
INBOX_ROWS = _gauge("offerloop_inbox_rows", "Triggers in the inbox by what became of them.", "status")
REWARD = _gauge(
    "offerloop_reward_per_decision",
    "Mean reward of matured decisions, with bounds that hold at any look.",
    "use_case",
    "arm",
    "release_id",
    "bound",
)
GAIN = _gauge(
    "offerloop_gain_over_control",
    "Mean reward a decision above control's, with bounds that hold at any look.",
    "use_case",
    "arm",
    "release_id",
    "bound",
)
FORECAST = _gauge(
    "offerloop_forecast_per_decision", "Value that the gate foresaw of a release, with its interval.", "use_case", "release_id", "bound"
)
EXPERIMENT_GAIN = _gauge(
    "offerloop_experiment_gain",
    "Mean reward a decision above the champion's, with bounds that hold at any look.",
    "use_case",
    "arm",
    "release_id",
    "bound",
)
EXPERIMENT_VERDICT = _gauge(
    "offerloop_experiment_verdict", "1 for what is concluded of an arm that is compared with the champion.", "use_case", "arm", "verdict"
)
EXPERIMENT_PROGRESS = _gauge("offerloop_experiment_progress", "Share of the planned information that has come.", "use_case", "arm")
SAMPLE_RATIO = _gauge(
    "offerloop_sample_ratio_probability",
    "Bound on the chance that entities fall into arms as unevenly as they ever did; an alarm below 0.001.",
    "use_case",
    "arm",
)
GUARD_RAIL = _gauge(
    "offerloop_guard_rail", "1 while a guard rail holds for sure, 0 while open, -1 when it is broken.", "use_case", "arm", "metric"
)
SHADOW_GAIN = _gauge(
    "offerloop_shadow_gain",
    "What the release in the shadow would earn a decision above the champion, with its interval.",
    "use_case",
    "release_id",
    "bound",
)
MATURED = _gauge("offerloop_matured_decisions", "Decisions whose outcome window has closed.", "use_case", "arm", "release_id")
SKEW_ROWS = _gauge("offerloop_skew_rows", "Decisions whose logged features were recomputed, and those that differed.", "use_case", "result")
STATES = _gauge("offerloop_states", "Entities that have a feature state, when they were last compacted.", "use_case")
STATE_BYTES = _gauge("offerloop_state_bytes", "Size of feature states, when they were last compacted.", "use_case", "size")
TABLE_ROWS = _gauge("offerloop_table_rows", "Rows in a table.", "use_case", "table")
TABLE_AGE_SECONDS = _gauge("offerloop_table_age_seconds", "Logical seconds since the newest row of a table came in.", "use_case", "table")
MONITOR_AGE_SECONDS = _gauge("offerloop_monitor_age_seconds", "Real seconds since the tables were last measured.")

METRICS = (
    REQUESTS,
    REQUEST_SECONDS,
    DECISIONS,
    ACTIONS,
    DEGRADED,
    FAILED,
    NOT_AS_DECLARED,
    DECISION_SECONDS,
    FEATURE_AGE_SECONDS,
    ACCEPTED,
    DUPLICATES,
    QUARANTINED,
    SHADOW_SCORED,
    RELEASES_REFUSED,
    REPLICA_PLAN_VERSION,
    LOG_REFUSES,
    SCORER_COMPILED,
    SERVICE_UP,
    PLAN_VERSION,
    TRAFFIC_SHARE,
    RELEASES,
    CANARY_STEP,
    CANARY_PROGRESS,
    CANARY_LIMIT,
    CANARY_STOPS,
    SIGN_OFF_WAITING,
    LEDGER_NEWEST,
    INBOX_ROWS,
    REWARD,
    GAIN,
    FORECAST,
    EXPERIMENT_GAIN,
    EXPERIMENT_VERDICT,
    EXPERIMENT_PROGRESS,
    SAMPLE_RATIO,
    GUARD_RAIL,
    SHADOW_GAIN,
    MATURED,
    SKEW_ROWS,
    STATES,
    STATE_BYTES,
    TABLE_ROWS,
    TABLE_AGE_SECONDS,
    MONITOR_AGE_SECONDS,
)
"""All of them, in the order of the pages that show them."""
