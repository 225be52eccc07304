"""The deployments of prefect.yaml, put in place through Prefect's API: seconds faster than its command line, and once for each use case."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema_from_entrypoint
from prefect.workers.process import ProcessWorker

POOL = "offerloop"
_USE_CASE = "{{ $USE_CASE }}"


def read(file: Path, use_cases: Sequence[str]) -> list[dict[str, Any]]:
    """The deployments of a prefect.yaml, those with a `{{ $USE_CASE }}` once for every use case."""
    text = file.read_text()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for use_case in use_cases:
        for deployment in yaml.safe_load(text.replace(_USE_CASE, use_case))["deployments"]:
            found[deployment["entrypoint"], deployment["name"]] = deployment
    return list(found.values())


async def put_in_place(client: PrefectClient, root: Path, use_cases: Sequence[str], *, scheduled: bool) -> list[str]:
    """Make the work pool and all deployments, or bring them up to date; their names.

    Args:
        client: of the Prefect server.
        root: the folder of prefect.yaml.
        use_cases: the ones that run.
        scheduled: whether schedules are active. Those of a simulated installation are not: they would follow the real clock.
    """
    template = ProcessWorker.get_default_base_job_template()
    variables = template["variables"]["properties"]
    # why: without a command of its own, Prefect 3.8 starts three interpreters a run, which takes twice as long
    variables["command"]["default"] = f"{sys.executable} -m prefect.engine"
    variables["working_dir"]["default"] = str(root)
    await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template), overwrite=True)
    return [await _put(client, root, deployment, scheduled) for deployment in read(root / "prefect.yaml", use_cases)]


async def _put(client: PrefectClient, root: Path, deployment: Mapping[str, Any], scheduled: bool) -> str:
    flow = deployment["entrypoint"].rpartition(".")[2]
    schema = parameter_schema_from_entrypoint(deployment["entrypoint"])
    await client.create_deployment(
        flow_id=await client.create_flow_from_name(flow),
        name=deployment["name"],
        description=deployment["description"],
        entrypoint=deployment["entrypoint"],
        parameters=deployment["parameters"],
        parameter_openapi_schema=schema.model_dump_for_openapi(),
        work_pool_name=deployment["work_pool"]["name"],
        schedules=[
            DeploymentScheduleCreate(schedule=CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]), active=scheduled)
            for schedule in deployment["schedules"]
        ],
        enforce_parameter_schema=True,
    )
    return f"{flow}/{deployment['name']}"
