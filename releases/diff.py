"""What differs between two releases, from their bundles alone, in words fit for a table."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from contracts.catalogue import Candidate, Catalogue
from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, to_datetime
from contracts.digests import digest_of_bytes
from releases.bundle import Bundle, BundleParts

Kind: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs.

    Attributes:
        what: such as "feature level" or "arena_pass:welcome, price_cents".
        before: in words; empty where there was nothing. `after`: likewise.
    """

    what: str
    before: str
    after: str

    @property
    def kind(self) -> Kind:
        """Whether it is new, gone or another."""
        return "added" if not self.before else "removed" if not self.after else "changed"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a release and what differs in it; no changes where it is the same."""

    name: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between the releases `before` and `after`: all sections in a fixed order, the same ones too."""

    before: str
    after: str
    sections: tuple[Section, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not any(section.changes for section in self.sections)

    @property
    def words(self) -> str:
        """Which sections differ, in a sentence."""
        if self.same:
            return f"Nothing differs between {self.before} and {self.after}."
        differ = [f"{section.name} ({len(section.changes)})" for section in self.sections if section.changes]
        alike = [section.name for section in self.sections if not section.changes]
        return f"They differ in {', '.join(differ)}." + (f" The same: {', '.join(alike)}." if alike else "")


def diff(before: Bundle, after: Bundle) -> Diff:
    """Compare two releases. What a bundle's format does not have yet counts as absent."""
    sections = [Section(name, tuple(changes)) for name, changes in _sections(before, after)]
    if not any(section.changes for section in sections):
        sections.append(Section("other", tuple(_single("whole digest", before.digest, after.digest))))
    return Diff(before.release_id, after.release_id, tuple(sections))


def _sections(before: Bundle, after: Bundle) -> Iterator[tuple[str, Sequence[Change]]]:
    old, new = before.parts, after.parts

    def both(name: str, *keys: str, without: Sequence[str] = ()) -> tuple[Any, Any]:
        return _inner(old, name, keys, without), _inner(new, name, keys, without)

    yield "features", [*_named("feature", _features(old), _features(new), _feature_words), *_set_of(old, new)]
    yield "events", _named("event", *both("schema"), lambda fields: _joined(fields) or "no fields")
    yield "catalogue", _catalogue(old.catalogue, new.catalogue)
    yield "messages", _plain(*both("messages"))
    yield "policy", _plain(*both("policy"))
    yield "learner", [*_single("scorer", old.scorer_kind, new.scorer_kind), *_plain(*both("settings", "learner"))]
    yield "model", [*_plain(_model(old), _model(new)), *_golden(old, new)]
    yield "settings", _plain(*both("settings", without=("learner",)))
    yield "data", [*_plain(*both("data", without=("partitions",))), *_partitions(old, new)]
    yield "code", _plain(*both("code"))
    yield "engine", _plain(*both("engine"))
    yield "figures", _plain(_figures(old), _figures(new))
    yield "gate", [*_plain(*both("gate", without=("checks", "forecast"))), *_plain(_checks(old), _checks(new))]
    yield "card", [*_plain(_card(old), _card(new)), *_limits(old, new)]


def _model(parts: BundleParts) -> dict[str, str]:
    return {name: f"{len(content):,} bytes, SHA-256 {digest_of_bytes(content)[:12]}…" for name, content in parts.scorer_files.items()}


def _golden(before: BundleParts, after: BundleParts) -> list[Change]:
    if before.golden.equals(after.golden):
        return []
    return [Change("golden decisions", f"{before.golden.height}", f"{after.golden.height}, others or decided otherwise")]


def _inner(parts: BundleParts, name: str, keys: Sequence[str] = (), without: Sequence[str] = ()) -> dict[str, Any]:
    """A document, or a part of it, without some of its keys; empty where it is absent."""
    found = getattr(parts, name, None)
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return {key: value for key, value in found.items() if key not in without} if isinstance(found, Mapping) else {}


def _items(parts: BundleParts, name: str, key: str) -> list[Any]:
    """A list in a document; empty where it is absent."""
    found = _inner(parts, name).get(key)
    return found if isinstance(found, list) else []


def _single(what: str, before: str, after: str) -> list[Change]:
    return [] if before == after else [Change(what, before, after)]


def _plain(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs between two documents, leaf by leaf."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [change for name in {**old, **new} for change in _single(name, old.get(name, ""), new.get(name, ""))]


def _named(noun: str, before: Mapping[str, Any], after: Mapping[str, Any], words: Callable[[Any], str]) -> list[Change]:
    """What differs between things with names: those that came or went as a whole, the others key by key."""
    changes = []
    for name in {**before, **after}:
        if name not in before or name not in after:
            changes += _single(f"{noun} {name}", *(words(found[name]) if name in found else "" for found in (before, after)))
        else:
            inner = _plain(before[name], after[name])
            changes += [Change(f"{noun} {name}, {change.what}", change.before, change.after) for change in inner]
    return changes


def _features(parts: BundleParts) -> dict[str, dict[str, Any]]:
    found = [feature for feature in _items(parts, "features", "features") if isinstance(feature, Mapping)]
    return {str(feature.get("name")): {key: value for key, value in feature.items() if key != "name"} for feature in found}


def _set_of(before: BundleParts, after: BundleParts) -> list[Change]:
    """Whether the list of features as a whole has another name, or the same features another order."""
    old, new = (list(_features(parts)) for parts in (before, after))
    same = set(old) == set(new)
    names = [str(_inner(parts, "features").get("name", "")) for parts in (before, after)]
    return [
        *_single("name of the feature set", *names),
        *(_single("order of the features", ", ".join(old), ", ".join(new)) if same else ()),
    ]


def _feature_words(feature: Mapping[str, Any]) -> str:
    aggregate, source, field = (feature.get(key) or "" for key in ("aggregate", "source", "field"))
    read = ".".join(filter(None, (source, field)))
    said = " of ".join(filter(None, (str(aggregate), read))) or "computed from other features"
    window = f" over {_duration(feature['window_us'])}" if isinstance(feature.get("window_us"), int) else ""
    return f"{said}{window}"


def _joined(content: Any) -> str:
    return ", ".join(f"{name}: {value}" for name, value in _leaves(content))


def _catalogue(before: Catalogue, after: Catalogue) -> list[Change]:
    """Candidates that came or went, then what changed, told once for all candidates with the same change."""
    old, new = ({one.candidate_id: _candidate(one) for one in listed.candidates} for listed in (before, after))
    changes = [
        Change(f"candidate {name}", _joined(old[name]) if name in old else "", _joined(new[name]) if name in new else "")
        for name in {**old, **new}
        if name not in old or name not in new
    ]
    alike: dict[tuple[str, str, str], list[str]] = {}
    for name in old:
        for change in _plain(old[name], new.get(name, old[name])):
            alike.setdefault((change.what, change.before, change.after), []).append(name)
    changes += [Change(f"{_some(names)}: {what}", was, is_) for (what, was, is_), names in alike.items()]
    if set(old) == set(new):
        changes += _single("order of the candidates", ", ".join(old), ", ".join(new))
    return changes


def _candidate(candidate: Candidate) -> dict[str, Any]:
    said = msgspec.to_builtins(candidate)
    said["rules"] = [f"{rule.feature} {rule.op} {_text('', rule.value)}" for rule in candidate.rules]
    said["limits"] = [f"{limit.most} of {limit.group or 'itself'} in {_duration(limit.window_us)}" for limit in candidate.limits]
    del said["candidate_id"]
    return {key: value for key, value in said.items() if value not in ([], {})}


def _some(names: Sequence[str]) -> str:
    return (
        f"candidate {names[0]}"
        if len(names) == 1
        else f"candidates {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    )


def _partitions(before: BundleParts, after: BundleParts) -> list[Change]:
    """How many days of each table were read, and days of which both read other rows."""
    old, new = (_days(parts) for parts in (before, after))
    changes = [change for table in {**old, **new} for change in _single(f"{table} read", _span(old.get(table)), _span(new.get(table)))]
    for table in old:
        for day in old[table].keys() & new.get(table, {}).keys():
            changes += _single(
                f"{table} of {day}", *(f"{found[table][day][0]:,} rows, {found[table][day][1][:12]}…" for found in (old, new))
            )
    return sorted(changes, key=lambda change: change.what)


def _days(parts: BundleParts) -> dict[str, dict[str, tuple[int, str]]]:
    found: dict[str, dict[str, tuple[int, str]]] = {}
    for part in _items(parts, "data", "partitions"):
        if isinstance(part, Mapping):
            days = found.setdefault(str(part.get("table")), {})
            rows = part.get("rows")
            days[str(part.get("day"))] = rows if isinstance(rows, int) else 0, str(part.get("digest"))
    return found


def _span(days: Mapping[str, tuple[int, str]] | None) -> str:
    return f"{len(days)} days from {min(days)} to {max(days)}, {sum(rows for rows, _ in days.values()):,} rows" if days else ""


def _figures(parts: BundleParts) -> dict[str, Any]:
    """The forecast, how much it is from, gains, slices and calibration: what people compare; not every estimator's figure."""
    metrics, gate = _inner(parts, "metrics"), _inner(parts, "gate")
    told: dict[str, Any] = {"forecast": gate.get("forecast")}
    told |= {name: metrics.get(name) for name in ("rows", "randomised", "entities", "control", "calibration")}
    told |= {name.replace("_", " "): metrics.get(name) for name in ("gain_over_control", "gain_over_champion", "slices", "cooled")}
    return {name: value for name, value in told.items() if value is not None}


def _checks(parts: BundleParts) -> dict[str, str]:
    checks = [check for check in _items(parts, "gate", "checks") if isinstance(check, Mapping)]
    return {f"check {check.get('name')}": f"{'passed' if check.get('passed') else 'failed'}: {check.get('reason', '')}" for check in checks}


def _card(parts: BundleParts) -> dict[str, Any]:
    """What the card says that no other section shows."""
    return _inner(parts, "card", ("purpose",)) | _inner(parts, "card", ("use",), without=("policy",))


def _limits(before: BundleParts, after: BundleParts) -> list[Change]:
    old, new = ([str(text) for text in _items(parts, "card", "limits")] for parts in (before, after))
    return [Change("limit", text, "") for text in old if text not in new] + [Change("limit", "", text) for text in new if text not in old]


def _leaves(document: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a document under its path, in words; a figure with its interval is one value."""
    if isinstance(document, Mapping) and {"value", "low", "high"} <= document.keys():
        yield path, f"{_text('', document['value'])} [{_text('', document['low'])}, {_text('', document['high'])}]"
    elif isinstance(document, Mapping):
        for key, value in document.items():
            yield from _leaves(value, f"{path}, {key}" if path else str(key))
    elif isinstance(document, list) and document and all(isinstance(item, Mapping) for item in document):
        for place, item in enumerate(document):
            yield from _leaves(item, f"{path}, {item.get('name', place + 1)}" if path else str(place + 1))
    else:
        key = path.rpartition(", ")[2]
        yield path.removesuffix("_us"), _text(key, document)


def _text(key: str, value: Any) -> str:
    """A value in words, never empty, since the empty text says that there is none."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int() if key.endswith("_us"):
            # why: no length of time here lasts for years, and no moment lies in the first three after 1970
            return _duration(value) if value < 1_000 * DAY_US else f"{to_datetime(value):%Y-%m-%d %H:%M:%S} UTC"
        case int():
            return str(value)
        case float():
            return f"{value:.6g}"
        case str():
            return value or "(empty)"
        case list() | tuple():
            return ", ".join(_text("", item) for item in value) or "nothing"
        case None:
            return "nothing"
        case _:
            return json.dumps(value) if value else "nothing"


def _duration(length_us: int) -> str:
    for unit, words in ((DAY_US, "d"), (HOUR_US, "h"), (MINUTE_US, "min"), (SECOND_US, "s")):
        if length_us and length_us % unit == 0:
            return f"{length_us // unit} {words}"
    return f"{length_us} µs"
