"""The policy that a foreign log shall value, from words: its probability of every action in every decision of the log."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from contracts.errors import DataRefused, InvalidInput, NotFound
from decisions.matrix import Floats
from decisions.policies import EpsilonGreedy, Greedy, probability_matrix
from training import columns
from training.log_checks import TOLERANCE
from training.plain_log import TARGET, PlainLog

WORDS = "uniform, logged, always:ACTION, learned, epsilon_greedy:SHARE, columns, file:PATH"


@dataclass(frozen=True, eq=False)
class Target:
    """A policy on a log.

    Attributes:
        name: as it was asked for.
        shown: (n,) probability of the action that was shown.
        probabilities: (n, K) of all; None for the logged policy where the log does not tell.
    """

    name: str
    shown: Floats
    probabilities: Floats | None


def target_of(words: str, log: PlainLog, q: Floats | None) -> Target:
    """The policy that words describe.

    | words | policy |
    |---|---|
    | `uniform` | all that could have been shown alike |
    | `logged` | the one that made the log |
    | `always:ACTION` | that action, where it could have been shown; else all alike |
    | `learned` | the action with the highest `q`, always; `q` is cross-fitted, so no row is valued by a model that has seen its entity |
    | `epsilon_greedy:SHARE` | the same, but a share of the decisions evenly over all |
    | `columns` | the columns `target_…` of the log |
    | `file:PATH` | the rows `decision_id, action, probability` of a file; an action without a row gets none |

    Args:
        words: see above.
        log: the log.
        q: (n, K) cross-fitted predicted rewards, −inf for what could not be shown; None without a model.

    Raises:
        InvalidInput: they describe none.
        NotFound: an action that they name is not in the log.
        DataRefused: there is no model, or probabilities are none, or not of this log.
    """
    kind, _, rest = words.partition(":")
    match kind, rest:
        case "logged", "":
            return Target(words, log.propensity, log.p_in_arm)
        case "uniform", "":
            return _of(words, log, probability_matrix(EpsilonGreedy(1.0), np.zeros(log.eligible.shape), log.eligible))
        case "always", action if action:
            return _of(words, log, _always(action, log))
        case "learned", "":
            return _of(words, log, probability_matrix(Greedy(), _known(q), log.eligible))
        case "epsilon_greedy", share if share:
            return _of(words, log, probability_matrix(EpsilonGreedy(_share(share)), _known(q), log.eligible))
        case "columns", "":
            return _of(words, log, _columns(log))
        case "file", path if path:
            return _of(words, log, _file(Path(path), log))
        case _:
            raise InvalidInput("policy", f"is {words!r}", f"one of {WORDS}")


def _of(name: str, log: PlainLog, probabilities: Floats) -> Target:
    return Target(name, probabilities[np.arange(len(log)), log.action], probabilities)


def _known(q: Floats | None) -> Floats:
    if q is None:
        raise DataRefused("the learned policy", ["nothing is learned without a model"])
    return q


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise InvalidInput("policy", f"explores a share of {text!r}", "a number from 0 to 1")
    return share


def _always(action: str, log: PlainLog) -> Floats:
    if action not in log.actions:
        raise NotFound("action", action, log.actions)
    place = log.actions.index(action)
    able = log.eligible[:, place]
    probabilities = probability_matrix(EpsilonGreedy(1.0), np.zeros(log.eligible.shape), log.eligible)
    probabilities[able] = 0.0
    probabilities[able, place] = 1.0
    return probabilities


def _columns(log: PlainLog) -> Floats:
    named = [f"{TARGET}{action}" for action in log.actions]
    if not any(name in log.rows.columns for name in named):
        raise DataRefused(log.name, [f"it has no columns {TARGET}…, by which the policy `columns` is given"])
    parts = [log.rows[name].to_numpy() if name in log.rows.columns else np.zeros(len(log)) for name in named]
    return np.stack(parts, axis=1)


def _file(path: Path, log: PlainLog) -> Floats:
    raw = columns.read(path)
    missing = [name for name in ("decision_id", "action", "probability") if name not in raw.columns]
    if missing:
        raise DataRefused(path.name, [f"columns are missing: {', '.join(missing)}"])
    given = pl.DataFrame(
        {
            "decision_id": columns.text(raw["decision_id"]),
            "action": columns.text(raw["action"]),
            "probability": columns.number(raw["probability"]),
        }
    ).with_row_index("row", offset=1)
    places = {action: place for place, action in enumerate(log.actions)}
    own = given.join(log.rows.select("decision_id", at=pl.int_range(pl.len())), on="decision_id", how="left", maintain_order="left")
    wrong = {
        "name decisions that the log does not have": ("decision_id", pl.col("at").is_null()),
        "name actions that the log neither shows nor could have shown": ("action", ~pl.col("action").is_in(list(places))),
        "stand more than once for their decision": ("action", pl.struct("decision_id", "action").is_duplicated()),
        "are no probability": ("probability", ~pl.col("probability").is_between(0.0, 1.0).fill_null(False)),
    }
    reasons = [
        f"{found.height} rows: values of {name} {text}{columns.first(found, name)}"
        for text, (name, condition) in wrong.items()
        if (found := own.filter(condition.fill_null(False))).height
    ]
    if reasons:
        raise DataRefused(path.name, reasons)
    probabilities = np.zeros(log.eligible.shape)
    probabilities[own["at"].to_numpy(), own["action"].replace_strict(places, return_dtype=pl.Int64).to_numpy()] = own[
        "probability"
    ].to_numpy()
    off = np.flatnonzero(np.abs(probabilities.sum(axis=1) - 1.0) > TOLERANCE)
    if off.size:
        first = ", ".join(f"{log.rows['decision_id'][int(row)]}: {probabilities[row].sum():.6g}" for row in off[: columns.EXAMPLES])
        raise DataRefused(path.name, [f"{off.size} decisions of the log have probabilities that do not sum to 1 (first: {first})"])
    return probabilities
