"""The Open Bandit Dataset: products that a fashion shop (ZOZOTOWN) showed, with the probability of each, and the clicks.

Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline", arXiv 2008.07146; CC BY 4.0. Three campaigns (`men`, `women`,
`all`), each logged under two policies: `random`, every product alike, and `bts`, Bernoulli Thompson sampling. The data has no visitor's id:
each row stands for itself, and who looks alike (the same hashed features) is one profile.
"""

import io
import zipfile
from hashlib import blake2b
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import polars as pl

from contracts.errors import DataRefused, ToolMissing
from storage.files import write_atomically
from use_cases.product_recommendation.catalogue import item_id
from use_cases.product_recommendation.features import CLASSES

Campaign: TypeAlias = Literal["men", "women", "all"]
Policy: TypeAlias = Literal["random", "bts"]

CAMPAIGNS: tuple[Campaign, ...] = get_args(Campaign)
POLICIES: tuple[Policy, ...] = get_args(Policy)
ITEMS: dict[Campaign, int] = {"men": 34, "women": 46, "all": 80}

HERE: Campaign = "men"
"""The campaign whose products are this use case's catalogue."""

ADDRESS = "https://github.com/st-tech/zr-obp/tree/master/obd"

_USER = tuple(f"user_feature_{number}" for number in range(len(CLASSES)))
_NEEDED = ("timestamp", "item_id", "position", "click", "propensity_score", *_USER)


def read(path: Path, policy: Policy, campaign: Campaign) -> pl.DataFrame:
    """A log, a row a product that was shown, in the file's order.

    Args:
        path: the published folder, a zip file of it, or the CSV file itself.
        policy: that made the log.
        campaign: whose products.

    Returns:
        `row` (from 1), `decided_at` (UTC), `item_id`, `position` (1 to 3), `click` (0 or 1), `propensity`, `user_feature_0` to `3`, and
        `profile`: a digest of all that is known of the visitor.

    Raises:
        ToolMissing: there is nothing at `path`.
        DataRefused: it is not that log, or numbers of it are none.
    """
    inside = f"{policy}/{campaign}/{campaign}.csv"
    if not path.exists():
        raise ToolMissing(f"the Open Bandit Dataset ({path} is not there)", f"get the folder {ADDRESS}, and give its path.")
    try:
        raw = pl.read_csv(_bytes(path, inside), infer_schema_length=None)
    except (pl.exceptions.PolarsError, zipfile.BadZipFile, KeyError, OSError) as error:
        raise DataRefused(str(path), [f"{inside} cannot be read from it ({str(error).splitlines()[0]})"]) from error
    missing = [name for name in _NEEDED if name not in raw.columns]
    if missing:
        raise DataRefused(str(path), [f"{inside} lacks the columns {', '.join(missing)}"])
    known = [name for name in raw.columns if name.startswith("user")]
    rows = raw.with_row_index("row", offset=1).select(
        "row",
        decided_at=pl.col("timestamp").str.to_datetime(time_unit="us", time_zone="UTC", strict=False),
        item_id=pl.col("item_id").cast(pl.Int64),
        position=pl.col("position").cast(pl.Int64),
        click=pl.col("click").cast(pl.Int64),
        propensity=pl.col("propensity_score").cast(pl.Float64),
        **{name: pl.col(name).cast(pl.String) for name in _USER},
        profile=pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in known], separator="|").map_elements(
            lambda text: blake2b(text.encode(), digest_size=6).hexdigest(), return_dtype=pl.String
        ),
    )
    wrong = rows.filter(~((pl.col("item_id") >= 0) & (pl.col("item_id") < ITEMS[campaign]) & pl.col("click").is_in([0, 1])))
    if wrong.height or rows["decided_at"].null_count():
        raise DataRefused(str(path), [f"{inside}: {wrong.height} rows have no item of the campaign, or a click that is not 0 or 1"])
    return rows


def write_log(rows: pl.DataFrame, policy: Policy, path: Path) -> None:
    """Write a log of the campaign `men` for the bulk import, into a Parquet file.

    What the visitor's classes and the place are is the request's context; a profile is the entity. The random log says with what
    probability each product could have been shown; the other says it of the one that was shown.
    """
    log = rows.select(
        decision_id=pl.format("open-bandit-{}-{}", pl.lit(policy), "row"),
        entity_id=pl.format("profile-{}", "profile"),
        decided_at="decided_at",
        action=pl.col("item_id").map_elements(item_id, return_dtype=pl.String),
        propensity="propensity",
        reward="click",
        context_position="position",
        **{f"context_user_{number}": pl.col(name).str.head(8) for number, name in enumerate(_USER)},
    )
    write_atomically(path, log.write_parquet)


def _bytes(path: Path, inside: str) -> bytes | io.BytesIO:
    if path.is_dir():
        return (path / inside).read_bytes()
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name == inside or name.endswith(f"/{inside}")]
        return archive.read(found[0] if found else inside)
