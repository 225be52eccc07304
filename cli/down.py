"""`offerloop down`."""

import os
import shutil
import signal
import time

import click

from cli.here import settings_of
from contracts.errors import ServiceFailed
from services.processes import end_all, instance_of, members
from services.state import supervisor
from serving.environment import short_folder
from storage.layout import Layout

PATIENCE_S = 90.0


@click.command()
@click.pass_context
def down(context: click.Context) -> int:
    """End the supervisor and every process of the installation, whoever started it; nothing of it is left when this returns."""
    settings = settings_of(context)
    layout = Layout(settings.folder)
    instance = instance_of(layout.root)
    found = len(members(instance))
    pid = supervisor(layout)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + PATIENCE_S
        while supervisor(layout) is not None and time.monotonic() < until:
            time.sleep(0.1)
    end_all(instance)
    shutil.rmtree(short_folder(settings), ignore_errors=True)
    if left := members(instance):
        raise ServiceFailed(", ".join(str(process.pid) for process in left), "cannot be ended", str(layout.logs))
    click.echo(f"{found} processes ended" if found else "nothing ran")
    return 0
