"""`offerloop up`."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.here import settings_of
from cli.output import console, json_option, print_json
from contracts.errors import ServiceFailed
from contracts.settings import Settings
from services import ports, ray
from services import state as noted
from services.ports import Addresses
from services.state import State
from services.supervisor import Supervisor, supervised
from storage.layout import Layout

_COLOURS = {"ready": "green", "starting": "yellow", "waiting": "dim", "broken": "red", "failed": "bold red", "ended": "dim"}


@click.command()
@click.option("--detach", is_flag=True, help="Return when everything is ready; `offerloop down` ends it.")
@json_option
@click.pass_context
def up(context: click.Context, detach: bool, as_json: bool) -> int:
    """Start Ray, the decision API, MLflow, Prefect, the flow worker, the dispatcher and the metrics, and keep them running.

    What dies is started again. Ctrl-C ends everything; so does `offerloop down`.
    """
    settings = settings_of(context)
    if detach:
        addresses = _detached(settings, _global_options(context))
        _say(settings, addresses, as_json)
        return 0
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    if console().is_terminal and not as_json:
        _with_table(settings, stopping)
    else:
        _with_lines(settings, stopping, as_json)
    return 0


def table_of(state: State) -> Table:
    """The services as people read them."""
    table = Table(title="Offerloop", title_justify="left", title_style="bold", header_style="bold")
    for column in ("service", "is", "for", "starts", "pid", "address"):
        table.add_column(column, justify="right" if column in ("for", "starts", "pid") else "left", overflow="fold")
    for service in state.services:
        shown = Text(service.stage + (f": {service.reason}" if service.reason else ""), style=_COLOURS[service.stage])
        for_s = _duration(time.time() - service.since_s) if service.since_s else ""
        table.add_row(service.title, shown, for_s, str(service.starts or ""), str(service.pid or ""), service.address)
    return table


def _with_table(settings: Settings, stopping: threading.Event) -> None:
    with Live(console=console(), refresh_per_second=4, transient=False) as live, supervised(settings, stopping=stopping) as supervisor:
        said = False
        while not stopping.wait(0.25):
            supervisor.check()
            live.update(table_of(supervisor.state))
            if supervisor.state.ready and not said:
                said = True
                live.console.print(
                    f"Decisions at {supervisor.addresses.public} (docs: {supervisor.addresses.public}/docs). Ctrl-C ends everything."
                )
                for warning in exposed(settings):
                    live.console.print(f"WARNING: {warning}", style="bold red")
        live.console.print("Ending everything …")


def _with_lines(settings: Settings, stopping: threading.Event, as_json: bool) -> None:
    told: dict[str, tuple[str, str]] = {}

    def tell(state: State) -> None:
        for service in state.services:
            if told.get(service.name) != (service.stage, service.reason) and service.stage != "waiting":
                told[service.name] = (service.stage, service.reason)
                took = f" after {service.ready_after_s:.1f} s" if service.stage == "ready" else ""
                reason = f": {service.reason}" if service.reason else ""
                click.echo(f"{time.strftime('%H:%M:%S')} {service.title}: {service.stage}{took}{reason}", err=as_json)

    with supervised(settings, tell, stopping) as supervisor:
        supervisor.wait_until_ready()
        if not stopping.is_set():
            _say(settings, supervisor.addresses, as_json)
        _watch(supervisor)


def _watch(supervisor: Supervisor) -> None:
    while not supervisor.stopping.wait(0.5):
        supervisor.check()


def _detached(settings: Settings, options: Sequence[str]) -> Addresses:
    """Start the supervisor by itself, and wait until everything is ready.

    Raises:
        ServiceFailed: it ended; the end of its log is shown.
    """
    layout = Layout(settings.folder)
    layout.logs.mkdir(parents=True, exist_ok=True)
    log = layout.logs / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *options, "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None:
        known = noted.read(layout)
        if known is not None and known.pid == process.pid and all(service.stage in ("ready", "failed") for service in known.services):
            addresses = ports.read(layout)
            assert addresses is not None
            return addresses
        time.sleep(0.1)
    raise ServiceFailed("supervisor", f"ended: {_tail(log.read_text())}", str(log))


def _say(settings: Settings, addresses: Addresses, as_json: bool) -> None:
    named = {
        "decisions": addresses.public,
        "docs": f"{addresses.public}/docs",
        "console": f"{addresses.public}/console/",
        "mlflow": addresses.mlflow,
        "prefect": addresses.prefect,
        "ray": addresses.ray_dashboard,
        "metrics": addresses.metrics,
    }
    if as_json:
        print_json({"state": str(settings.folder), "addresses": named})
        return
    for name, address in named.items():
        click.echo(f"{name:<10} {address}")
    layout = Layout(settings.folder)
    click.echo(f"{'key':<10} {layout.secrets / 'api_key'}: for all of them, as Bearer or as password; Ray asks for {ray.token(layout)}")
    for warning in exposed(settings):
        click.secho(f"WARNING: {warning}", fg="red", bold=True, err=True)


def exposed(settings: Settings) -> list[str]:
    """What others than this machine's users could read or do, as the settings are."""
    if ports.on_loopback(settings.host):
        return []
    found = []
    if not settings.serving.tls_certificate:
        found.append(
            f"host is {settings.host} without TLS: keys and decisions can be read on the way. Set serving.tls_certificate, or put a "
            "proxy with TLS before it."
        )
    if not settings.serving.require_key:
        found.append(f"host is {settings.host} and serving.require_key is off: whoever reaches it can decide and write.")
    return found


def _global_options(context: click.Context) -> list[str]:
    given: dict[str, Any] = context.obj
    return [word for name in ("config", "state") if given[name] for word in (f"--{name}", str(given[name]))]


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "it said nothing"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3_600 else f"{seconds / 3_600:.1f} h"
