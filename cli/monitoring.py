"""`offerloop monitoring`: put the dashboard where people look."""

import os
from pathlib import Path

import click


@click.group()
def monitoring() -> None:
    """Dashboards of what Offerloop decides and earns."""


@monitoring.command()
@click.option("--grafana", "url", envvar="GRAFANA_URL", default="http://127.0.0.1:3000", show_default=True, help="Grafana's address.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with a service account's token.")
@click.option("--user", help="A user's name, instead of a token.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with that user's password.")
@click.option("--prometheus", default="http://127.0.0.1:9090", show_default=True, help="Prometheus' address, as Grafana's server finds it.")
def apply(url: str, token_file: Path | None, user: str | None, password_file: Path | None, prometheus: str) -> None:
    """Put data source, folder and dashboard in place in a Grafana; doing it again changes nothing.

    The token may also be given by the variable GRAFANA_TOKEN; no secret is taken on the command line, where others could read it.
    """
    from monitoring.grafana import Credential
    from monitoring.grafana import apply as put

    credential: Credential
    if user and password_file:
        credential = (user, password_file.read_text().strip())
    elif token_file:
        credential = token_file.read_text().strip()
    elif token := os.environ.get("GRAFANA_TOKEN"):
        credential = token
    else:
        raise click.UsageError("Say who you are: --token-file FILE, --user NAME --password-file FILE, or the variable GRAFANA_TOKEN.")
    for applied in put(url, credential, prometheus):
        click.echo(f"{applied.what:>9}  {applied.kind} {applied.title}")
