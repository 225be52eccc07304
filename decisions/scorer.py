"""Scorers: the estimated reward of each eligible candidate, in one call, of a kind that a bundle names."""

import ctypes
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import msgspec
import numpy as np

from contracts.catalogue import Catalogue
from contracts.errors import InvalidInput, NotCompiled
from decisions.compiled import CompiledScorer, Layout
from decisions.kernel import Kernel, load_kernel
from decisions.linear import LINEAR_FILE, build_linear
from decisions.matrix import Floats, ModelColumns, Positions, rows
from decisions.model_text import check_model_text, leaf_count
from decisions.own_files import digest
from decisions.proof import prove
from decisions.proven import keep, recalled
from decisions.trees import read_trees

ScorerKind: TypeAlias = Literal["constant", "table", "linear", "lightgbm"]

MODEL_FILE = "model.txt"
TABLE_FILE = "table.json"

_LOG = logging.getLogger(__name__)


class Scorer(Protocol):
    """Scores candidates. Deterministic: the same features give the same bits."""

    def scores(self, features: Floats, positions: Positions) -> Floats:
        """(k,) scores of the candidates at (k,) catalogue positions, for the (n,) features of an entity."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantScorer:
    """Every candidate alike: before anything is learned."""

    def scores(self, features: Floats, positions: Positions) -> Floats:
        """See `Scorer.scores`."""
        return np.zeros(len(positions))


@dataclass(frozen=True, slots=True)
class TableScorer:
    """One value a candidate, whoever is asked: the best single candidate is the best of the table."""

    values: Floats

    def scores(self, features: Floats, positions: Positions) -> Floats:
        """See `Scorer.scores`."""
        return self.values[positions]


class LightGBMScorer:
    """A LightGBM model over (features, candidate attributes), on one thread.

    It calls the library's C function with arguments made ready, which saves what `Booster.predict` does around it for a decision's few
    rows. When it is built it is checked against `Booster.predict`, bit for bit; where they differ it uses the latter. `compile` makes it
    many times faster, while others go on calling it.

    Attributes:
        booster: the model. `columns`: what its columns are.
        direct: whether the C function is called directly.
        compiled: what scores instead, once `compile` has proven it.
        leaves: of all its trees.
        tried: whether somebody has it compiled. `why_not`: why it could not be.

    Raises:
        InvalidInput: the text is no LightGBM model, or a model of other columns.
    """

    def __init__(self, model: str, columns: ModelColumns) -> None:
        check_model_text(model.encode(), MODEL_FILE)
        import lightgbm  # why: an engine; a release without a model, and the command line, must not pay for it

        try:
            self.booster = lightgbm.Booster(model_str=model)
        except (lightgbm.basic.LightGBMError, ValueError, IndexError, KeyError) as error:
            raise InvalidInput(MODEL_FILE, f"is no LightGBM model ({error})", "the text that Booster.model_to_string gives") from error
        if tuple(self.booster.feature_name()) != columns.names:
            raise InvalidInput(MODEL_FILE, f"has the columns {self.booster.feature_name()}", f"the columns {list(columns.names)}")
        self.columns = columns
        self.compiled: CompiledScorer | None = None
        self.leaves = leaf_count(model.encode())
        self.tried = False
        self._model, self._engine = digest(model.encode()), f"lightgbm {lightgbm.__version__}"
        self.why_not = ""
        self._predict = _Predict(self.booster, vars(lightgbm.basic)["_LIB"]._name)
        self.direct = self._agrees()

    def scores(self, features: Floats, positions: Positions) -> Floats:
        """See `Scorer.scores`."""
        if self.compiled is not None:
            return self.compiled.scores(features, positions)
        matrix = rows(features, self.columns, positions)
        return self._predict(matrix) if self.direct else self.reference(matrix)

    def compile(self, folder: Path) -> None:
        """Score by this machine's own kernel from now on, once it has given the bits of `Booster.predict`.

        It takes a quarter of a second for 200 trees of 31 leaves, and as long again where the kernel has to be built.

        Args:
            folder: where the kernel is kept (`decisions.kernel.load_kernel`), and what was proven.

        Raises:
            NotCompiled: why not; everything stays as it was.
        """
        try:
            kernel = load_kernel(folder)
            trees = read_trees(self.booster.model_to_string())
            layout = Layout.of(trees)
            made = CompiledScorer(kernel, layout, self.columns)
            prove(made, trees, self.columns, LightGBMTrees(self.booster))
        except NotCompiled as error:
            self.why_not = error.reason
            raise
        self.compiled = made
        try:
            keep(folder, self._identity(kernel), layout)
        except NotCompiled as error:
            # why: it is proven all the same; what is lost is that the next one to load it need not prove it
            _LOG.warning("%s", error)

    def recall(self, folder: Path) -> bool:
        """Score by the kernel at once where this very model, over these columns, was proven in this folder before; whether it was."""
        try:
            kernel = load_kernel(folder, build=False)
            layout = recalled(folder, self._identity(kernel))
            self.compiled = None if layout is None else CompiledScorer(kernel, layout, self.columns)
        except NotCompiled:
            self.compiled = None
        return self.compiled is not None

    def _identity(self, kernel: Kernel) -> str:
        columns = (self.columns.names, self.columns.values.shape, self.columns.matched.shape)
        parts = (self._model, kernel.name, self._engine, repr(columns), self.columns.values.tobytes(), self.columns.matched.tobytes())
        return digest(b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts))

    def reference(self, matrix: Floats) -> Floats:
        """(k,) scores of the rows of a matrix, by `Booster.predict`."""
        return np.asarray(self.booster.predict(matrix, num_threads=1), dtype=np.float64)

    def _agrees(self) -> bool:
        generator = np.random.default_rng(0)
        positions = np.arange(len(self.columns.values))
        feature_count = len(self.columns.names) - self.columns.values.shape[1] - self.columns.matched.shape[1]
        for scale in (0.0, 1.0, 30.0, 1e6):
            matrix = rows(np.trunc(generator.normal(size=feature_count) * scale * 4) / 4, self.columns, positions)
            if self._predict(matrix).tobytes() != self.reference(matrix).tobytes():
                return False
        return True


def engine(scorer: Scorer) -> str:
    """What scores, in words: `compiled`, `LightGBM` with the reason why it is not compiled, or `constant`, `table`, `linear`."""
    match scorer:
        case LightGBMScorer():
            why_not = f": {scorer.why_not}" if scorer.why_not else ""
            return "compiled" if scorer.compiled is not None else f"LightGBM{why_not}"
        case ConstantScorer():
            return "constant"
        case TableScorer():
            return "table"
        case _:
            return "linear"


class LightGBMTrees:
    """What a compiled scorer is held against: `Booster.predict` on one thread."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    def leaf_value(self, tree: int, leaf: int) -> float:
        """See `decisions.proof.Reference`."""
        return float(self._booster.get_leaf_output(tree, leaf))

    def scores(self, matrix: Floats) -> Floats:
        """See `decisions.proof.Reference`."""
        return np.asarray(self._booster.predict(matrix, num_threads=1), dtype=np.float64)

    def tree_scores(self, tree: int, matrix: Floats) -> Floats:
        """See `decisions.proof.Reference`."""
        one = self._booster.predict(matrix, raw_score=True, start_iteration=tree, num_iteration=1, num_threads=1)
        return np.asarray(one, dtype=np.float64)


class _Predict:
    """`LGBM_BoosterPredictForMat` on a row-major float64 matrix, one thread, all trees."""

    def __init__(self, booster: Any, library: str) -> None:
        self._booster = booster
        self._handle = booster._handle
        opened = _opened(library)
        self._call = opened.LGBM_BoosterPredictForMat
        self._last_error = opened.LGBM_GetLastError

    def __call__(self, matrix: Floats) -> Floats:
        count, columns = matrix.shape
        scores = np.empty(count)
        written = ctypes.c_int64(0)
        status = self._call(
            self._handle,
            matrix.ctypes.data,
            _FLOAT64,
            count,
            columns,
            _ROW_MAJOR,
            _NORMAL,
            _FIRST_TREE,
            _ALL_TREES,
            _PARAMETERS,
            ctypes.byref(written),
            scores.ctypes.data,
        )
        if status or written.value != count:
            raise InvalidInput("features", f"cannot be scored ({self._last_error()!r})", f"{columns} columns and one score a candidate")
        return scores


@cache
def _opened(library: str) -> ctypes.CDLL:
    """LightGBM's library with types of arguments of our own, so that bare numbers need not be wrapped for each call."""
    opened = ctypes.CDLL(library)
    opened.LGBM_BoosterPredictForMat.argtypes = _ARGUMENTS
    opened.LGBM_GetLastError.restype = ctypes.c_char_p
    return opened


_ARGUMENTS = (
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.c_int, ctypes.c_int, ctypes.c_int,
    ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p,
)  # fmt: skip
_FLOAT64 = 1
_ROW_MAJOR = 1
_NORMAL = 0
_FIRST_TREE = 0
_ALL_TREES = -1
_PARAMETERS = b"num_threads=1"


def build_scorer(kind: str, files: Mapping[str, bytes], feature_names: Sequence[str], catalogue: Catalogue) -> Scorer:
    """The scorer of a bundle.

    Args:
        kind: `constant`; `table`, from `table.json`, a number for every candidate id; `linear`, from `linear.json`; `lightgbm`, from
            `model.txt`.
        files: contents of the bundle's files by name.
        feature_names: of the bundle's feature set, in order.
        catalogue: the bundle's catalogue.

    Raises:
        InvalidInput: the kind is unknown; its file is missing, malformed, or does not fit features and catalogue.
    """
    match kind:
        case "constant":
            return ConstantScorer()
        case "table":
            return TableScorer(_table(_file(files, TABLE_FILE), catalogue))
        case "linear":
            return build_linear(_file(files, LINEAR_FILE), tuple(feature_names), catalogue)
        case "lightgbm":
            return LightGBMScorer(_text(_file(files, MODEL_FILE)), ModelColumns.of(feature_names, catalogue))
        case _:
            raise InvalidInput("scorer.kind", f"is {kind!r}", f"one of {', '.join(get_args(ScorerKind))}")


def encode_table(values: Mapping[str, float]) -> bytes:
    """The content of `table.json`.

    Example:
        >>> encode_table({"b": 2.0, "a": 1.5})
        b'{"a":1.5,"b":2.0}'
    """
    return msgspec.json.encode({name: float(value) for name, value in values.items()}, order="sorted")


def _table(content: bytes, catalogue: Catalogue) -> Floats:
    try:
        table = msgspec.json.decode(content, type=dict[str, float])
    except msgspec.DecodeError as error:
        raise InvalidInput(TABLE_FILE, f"is malformed ({error})", "a number for every candidate id") from error
    if table.keys() != catalogue.index.keys():
        raise InvalidInput(TABLE_FILE, f"scores {sorted(table)}", f"the candidates {sorted(catalogue.index)}")
    return np.array([table[candidate.candidate_id] for candidate in catalogue.candidates])


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise InvalidInput(name, "is missing", "it in the bundle of a release with this scorer")
    return files[name]


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(MODEL_FILE, f"is no text ({error})", "UTF-8") from error
