"""The peer of a decision over HTTP: a scorer as one writes it by hand, FastAPI around `Booster.predict`.

It takes an entity's features from the request, scores all candidates and answers with the best. It asks for no key, keeps no features,
explores nothing and logs nothing. Run by uvicorn as `bench.peers.bare_scorer:app`; the folder with `model.txt`, `candidates.npy` and
`matched.npy` is named by the variable `BARE_SCORER`.
"""

import json
import os
from pathlib import Path

import lightgbm
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from pydantic import BaseModel

FOLDER = Path(os.environ["BARE_SCORER"])
BOOSTER = lightgbm.Booster(model_file=str(FOLDER / "model.txt"))
CANDIDATES = np.load(FOLDER / "candidates.npy")
"""(k, c) the candidates' own columns."""

MATCHED = np.load(FOLDER / "matched.npy")
"""(k, m) places of the features that go with each candidate; one behind the last for none."""

NAMES: list[str] = json.loads((FOLDER / "names.json").read_text())

app = FastAPI()


class Asked(BaseModel):
    """Whom to decide for, and what is known of it."""

    entity_id: str
    features: list[float]


class Chosen(BaseModel):
    """The candidate with the best score."""

    entity_id: str
    action: str
    score: float


def score(features: list[float]) -> NDArray[np.float64]:
    """(k,) scores of all candidates."""
    known = np.array([*features, np.nan])
    count, width = len(features), CANDIDATES.shape[1]
    matrix = np.empty((len(CANDIDATES), count + width + MATCHED.shape[1]))
    matrix[:, :count] = known[:count]
    matrix[:, count : count + width] = CANDIDATES
    matrix[:, count + width :] = known[MATCHED]
    return np.asarray(BOOSTER.predict(matrix, num_threads=1))


def choose(asked: Asked) -> Chosen:
    """The answer to a question."""
    scores = score(asked.features)
    best = int(scores.argmax())
    return Chosen(entity_id=asked.entity_id, action=NAMES[best], score=float(scores[best]))


@app.post("/async")
async def decide_async(asked: Asked) -> Chosen:
    """Scored on the event loop."""
    return choose(asked)


@app.post("/sync")
def decide_sync(asked: Asked) -> Chosen:
    """Scored in FastAPI's pool of threads."""
    return choose(asked)


@app.post("/scores")
async def scores(asked: Asked) -> list[float]:
    """All scores, to be compared."""
    return [float(value) for value in score(asked.features)]
