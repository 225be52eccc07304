"""Panels of a Grafana dashboard as plain JSON: rows of 24 columns, filled from left to right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Json: TypeAlias = dict[str, Any]

DATA_SOURCE_UID = "offerloop-prometheus"
DATA_SOURCE: Mapping[str, str] = {"type": "prometheus", "uid": DATA_SOURCE_UID}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and the legend of its series; `{{label}}` stands for a label's value."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        unit: a unit of Grafana, such as `s`, `percentunit`, `reqps`, `short`.
        width: in columns of 24. A figure is 4 lines high, a graph 8.
        limits: for a figure, the values from which it turns to a colour, ascending.
    """

    title: str
    text: str
    queries: Sequence[Query]
    kind: Literal["timeseries", "stat"] = "timeseries"
    unit: str = "short"
    width: int = 8
    stacked: bool = False
    limits: Sequence[tuple[float, str]] = field(default=())

    @property
    def height(self) -> int:
        """Lines of the grid."""
        return 4 if self.kind == "stat" else 8


def figure(title: str, text: str, expression: str, unit: str = "short", limits: Sequence[tuple[float, str]] = ()) -> Panel:
    """A panel of one number, six a row."""
    return Panel(title, text, (Query(expression),), "stat", unit, 4, limits=limits)


def lay_out(rows: Mapping[str, Sequence[Panel]]) -> list[Json]:
    """The panels of titled rows, with ids and places."""
    laid: list[Json] = []
    top = 0
    for title, panels in rows.items():
        place = {"x": 0, "y": top, "w": 24, "h": 1}
        laid.append({"type": "row", "id": len(laid) + 1, "title": title, "collapsed": False, "panels": [], "gridPos": place})
        left, top, height = 0, top + 1, 0
        for panel in panels:
            if left + panel.width > 24:
                left, top, height = 0, top + height, 0
            laid.append(_panel(panel, len(laid) + 1, {"x": left, "y": top, "w": panel.width, "h": panel.height}))
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return laid


def _panel(panel: Panel, number: int, place: Json) -> Json:
    defaults: Json = {"unit": panel.unit, "custom": _graph(panel) if panel.kind == "timeseries" else {}}
    if panel.kind == "stat":
        steps = [{"value": None, "color": "green"}, *({"value": value, "color": color} for value, color in panel.limits)]
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}, "noValue": "–"}
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "datasource": dict(DATA_SOURCE),
        "gridPos": place,
        "targets": [_target(query, position) for position, query in enumerate(panel.queries)],
        "options": _FIGURE_OPTIONS if panel.kind == "stat" else _GRAPH_OPTIONS,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }


def _target(query: Query, position: int) -> Json:
    return {
        "refId": chr(ord("A") + position),
        "datasource": dict(DATA_SOURCE),
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "editorMode": "code",
        "range": True,
    }


def _graph(panel: Panel) -> Json:
    stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
    return {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if panel.stacked else 5, "showPoints": "never", "stacking": stacking}


_GRAPH_OPTIONS: Json = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
    "tooltip": {"mode": "multi", "sort": "desc"},
}
_FIGURE_OPTIONS: Json = {
    "graphMode": "area",
    "colorMode": "value",
    "justifyMode": "auto",
    "textMode": "auto",
    "wideLayout": True,
    "showPercentChange": False,
    "percentChangeColorMode": "standard",
    "orientation": "auto",
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
}
