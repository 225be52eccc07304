from pathlib import Path

from flows.deployments import read


def test_flows_of_a_use_case_are_deployed_for_each_and_the_others_once(repository: Path) -> None:
    found = read(repository / "prefect.yaml", ["one", "two"])
    names = sorted(f"{deployment['entrypoint']}/{deployment['name']}" for deployment in found)
    assert names == [
        "flows.compact.compact/all",
        "flows.features.features/one",
        "flows.features.features/two",
        "flows.monitor.monitor/all",
        "flows.rollout.rollout/one",
        "flows.rollout.rollout/two",
        "flows.train.train/one",
        "flows.train.train/two",
    ]
    assert [deployment["parameters"] for deployment in found if deployment["name"] == "two"] == [{"use_case": "two"}] * 3


def test_every_schedule_is_in_utc(repository: Path) -> None:
    found = read(repository / "prefect.yaml", ["one"])
    assert {schedule["timezone"] for deployment in found for schedule in deployment["schedules"]} == {"UTC"}
