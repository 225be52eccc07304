"""The use case of the products, and the loader of the real data."""

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from cli.main import main
from contracts.clock import to_us
from contracts.errors import DataRefused, ToolMissing
from contracts.settings import Settings
from releases.bundle import write_bundle
from services.bootstrap import start_releases
from tests.training.conftest import Installed
from training.dataset import build
from training.import_log import import_log
from training.train import train_on
from use_cases.definition import load
from use_cases.product_recommendation import USE_CASE, open_bandit
from use_cases.product_recommendation.features import CLASSES

Shared = Callable[[str], Path]

HEADER = (
    ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,user_feature_3,user-item_affinity_0\n"
)
SAMPLE = (
    HEADER
    + "0,2019-11-24 00:03:13.442536+00:00,14,3,0,0.25,cef3390ed299,03a5648a7683,2723d2eb8bba,9bde591ffaab,0.0\n"
    + "1,2019-11-24 00:03:14+00:00,7,1,1,0.5,cef3390ed299,03a5648a7683,2723d2eb8bba,9bde591ffaab,0.0\n"
    + "2,2019-11-24 00:03:15+00:00,0,2,0,1.0,cef3390ed299,03a5648a7683,2723d2eb8bba,9bde591ffaab,2.0\n"
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("obd/bts/men/men.csv", SAMPLE)
    return path


def test_the_use_case_is_whole() -> None:
    assert load("product_recommendation") is USE_CASE
    assert len(USE_CASE.catalogue.candidates) == open_bandit.ITEMS["men"]
    assert USE_CASE.baseline in USE_CASE.catalogue.index


def test_a_log_is_read_from_a_zip_a_folder_or_its_file(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as made:
        made.extractall(tmp_path)
    rows = open_bandit.read(archive, "bts", "men")
    assert rows.equals(open_bandit.read(tmp_path / "obd", "bts", "men"))
    assert rows.equals(open_bandit.read(tmp_path / "obd" / "bts" / "men" / "men.csv", "bts", "men"))
    assert rows.select("row", "item_id", "position", "click", "propensity").rows() == [
        (1, 14, 3, 0, 0.25),
        (2, 7, 1, 1, 0.5),
        (3, 0, 2, 0, 1.0),
    ]


def test_visitors_of_whom_the_same_is_known_are_one_profile(archive: Path) -> None:
    first, second, third = open_bandit.read(archive, "bts", "men")["profile"].to_list()
    assert first == second != third


def test_the_log_for_the_import_names_items_and_classes_as_the_use_case_does(archive: Path, tmp_path: Path) -> None:
    open_bandit.write_log(open_bandit.read(archive, "bts", "men"), "bts", tmp_path / "log.parquet")
    log = pl.read_parquet(tmp_path / "log.parquet")
    assert log["action"].to_list() == ["item-14", "item-07", "item-00"]
    assert log["decision_id"].to_list() == ["open-bandit-bts-1", "open-bandit-bts-2", "open-bandit-bts-3"]
    assert log["context_user_0"].unique().to_list() == [CLASSES[0][0]] and log["context_position"].to_list() == [3, 1, 2]


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (SAMPLE.replace("14,3,0", "34,3,0"), "1 rows have no item of the campaign"),
        (SAMPLE.replace("7,1,1,", "7,1,2,"), "1 rows have no item of the campaign, or a click that is not 0 or 1"),
        (SAMPLE.replace("click", "clicks"), "lacks the columns click"),
    ],
)
def test_what_is_not_the_log_is_refused(tmp_path: Path, sample: str, said: str) -> None:
    (tmp_path / "men.csv").write_text(sample)
    with pytest.raises(DataRefused, match=said):
        open_bandit.read(tmp_path / "men.csv", "bts", "men")


def test_a_zip_without_the_log_and_no_file_at_all_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="random/men/men.csv cannot be read"):
        open_bandit.read(archive, "random", "men")
    with pytest.raises(ToolMissing, match="is not there"):
        open_bandit.read(tmp_path / "gone", "random", "men")


def test_the_published_logs_are_read_whole(shared: Shared) -> None:
    path = shared("data/open_bandit_small.zip")
    for campaign in open_bandit.CAMPAIGNS:
        random = open_bandit.read(path, "random", campaign)
        assert random.height == 10_000
        assert random["propensity"].to_list() == pytest.approx([1 / open_bandit.ITEMS[campaign]] * 10_000)
    known = open_bandit.read(path, "bts", "men")
    for number, classes in enumerate(CLASSES):
        assert set(known[f"user_feature_{number}"].str.head(8)) <= set(classes)


def test_a_log_comes_in_by_one_command(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFFERLOOP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("OFFERLOOP_USE_CASES", USE_CASE.name)
    start_releases(Settings(state=str(tmp_path / "state"), use_cases=(USE_CASE.name,)))
    for new in (3, 0):
        ended = main(["import", "open-bandit", str(archive), "--policy", "bts"])
        said = capsys.readouterr()
        assert ended == 0, said.err
        assert f"3 rows, {new} of them new, 1 with a reward, 1 earned in all" in said.out


def test_what_is_learned_of_the_published_log_is_believed_as_far_as_its_clicks_go(shared: Shared, tmp_path: Path) -> None:
    stores = Installed(tmp_path, USE_CASE)
    open_bandit.write_log(open_bandit.read(shared("data/open_bandit_small.zip"), "random", "men"), "random", tmp_path / "log.parquet")
    now_us = to_us(datetime(2020, 1, 1, tzinfo=UTC))
    import_log(stores.journal, USE_CASE, tmp_path / "log.parquet", stores.online.apply, now_us=now_us)
    stores.drain()
    stores.journal.close()
    candidate = train_on(build(stores.tables, USE_CASE, now_us=now_us, folder=tmp_path / "work"))
    # 46 clicks do not show that visitors differ, nor that any product beats showing them at random
    assert candidate.verdict.choice == "best_single" and candidate.verdict.step != "champion"
    assert candidate.verdict.forecast.low < 46 / 10_000 < candidate.verdict.forecast.high
    assert write_bundle(tmp_path, candidate.parts, tmp_path / "secrets").startswith("r-")
