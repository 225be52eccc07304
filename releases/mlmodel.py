"""What MLflow asks of a model: the file `MLmodel` beside a bundle, with the module that loads it and the columns that go in and out."""

import json
from typing import Any

from releases.bundle import Bundle

LOADER = "training.served_model"
"""The module whose `_load_pyfunc` MLflow calls with the bundle's folder; it reads text and Parquet, and unpickles nothing."""


def mlmodel(bundle: Bundle) -> str:
    """The content of `MLmodel`, for a bundle in a folder of its name beside it: JSON, which is YAML as well."""
    features = [str(feature["name"]) for feature in bundle.parts.features["features"]]
    candidates = list(bundle.parts.catalogue.index)
    outputs = [f"{figure}:{candidate}" for figure in ("score", "probability") for candidate in candidates]
    content: dict[str, Any] = {
        "flavors": {"python_function": {"loader_module": LOADER, "data": bundle.release_id}},
        "signature": {"inputs": _columns(features), "outputs": _columns(outputs), "params": None},
        "metadata": {"release_id": bundle.release_id, "digest": bundle.digest, "use_case": bundle.parts.use_case},
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def _columns(names: list[str]) -> str:
    return json.dumps([{"type": "double", "name": name, "required": True} for name in names], ensure_ascii=False)
