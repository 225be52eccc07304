"""Where Prometheus finds what to scrape: a file of targets that it watches, and a configuration that names the file."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from storage.files import write_bytes
from storage.layout import Layout


def targets_path(layout: Layout) -> Path:
    """The file of targets of an installation."""
    return layout.run / "prometheus" / "targets.json"


def write_targets(layout: Layout, addresses: Mapping[str, str]) -> Path:
    """Say what runs now: `host:port` of each job, such as `{"serving": "127.0.0.1:9465", "exporter": "127.0.0.1:9464"}`."""
    groups = [{"targets": [address], "labels": {"job": job}} for job, address in sorted(addresses.items())]
    path = targets_path(layout)
    write_bytes(path, msgspec.json.format(msgspec.json.encode(groups)))
    return path


def configuration(targets: Path, key: Path, interval_s: int = 5) -> str:
    """A `prometheus.yml` that scrapes what a file of targets names, with the key that stands in another."""
    return f"""\
global:
  scrape_interval: {interval_s}s
  evaluation_interval: {interval_s}s
scrape_configs:
  - job_name: offerloop
    authorization:
      credentials_file: "{key}"
    file_sd_configs:
      - files: ["{targets}"]
        refresh_interval: {interval_s}s
"""


def write_configuration(layout: Layout) -> Path:
    """Write a `prometheus.yml` beside the targets, for a Prometheus on this machine that this user runs."""
    path = targets_path(layout).with_name("prometheus.yml")
    write_bytes(path, configuration(targets_path(layout), layout.metrics_key).encode())
    return path
