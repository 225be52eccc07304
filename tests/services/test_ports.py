import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import SettingsError
from contracts.settings import Ports, Serving, Settings
from services.ports import choose, read, write
from storage.layout import Layout

ANY = Ports(api=0, mlflow=0, prefect=0, ray_dashboard=0, metrics=0, proxy_statistics=0)


def test_zero_asks_for_a_free_port_and_no_port_is_given_twice() -> None:
    addresses = choose(Settings(ports=ANY))
    found = [getattr(part, name) for part in (addresses.ports, addresses.ray) for name in part.__struct_fields__]
    assert all(found) and len(set(found)) == len(found)


def test_a_named_port_is_kept(free_port: Callable[[], int]) -> None:
    named = free_port()
    assert choose(Settings(ports=Ports(named, 0, 0, 0, 0, 0))).api == f"http://127.0.0.1:{named}"


def test_a_named_port_that_is_taken_is_refused_by_its_key() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(SettingsError, match=r"ports\.mlflow"):
            choose(Settings(ports=Ports(0, listener.getsockname()[1], 0, 0, 0, 0)))


def test_a_port_named_twice_is_refused(free_port: Callable[[], int]) -> None:
    named = free_port()
    with pytest.raises(SettingsError, match=r"ports\.mlflow"):
        choose(Settings(ports=Ports(named, named, 0, 0, 0, 0)))


def test_the_ports_of_the_last_start_are_taken_again_where_they_are_free() -> None:
    last = choose(Settings(ports=ANY))
    assert choose(Settings(ports=ANY), last) == last
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", last.ports.api))
        listener.listen()
        again = choose(Settings(ports=ANY), last)
    assert again.ports.api != last.ports.api and again.ports.mlflow == last.ports.mlflow


def test_addresses_are_noted_for_others(tmp_path: Path) -> None:
    assert read(Layout(tmp_path)) is None
    addresses = choose(Settings(ports=ANY))
    write(Layout(tmp_path), addresses)
    assert read(Layout(tmp_path)) == addresses


def test_only_the_decision_api_follows_the_host() -> None:
    addresses = choose(Settings(host="0.0.0.0", ports=ANY))
    assert addresses.host == "0.0.0.0"
    assert all(
        address.startswith("http://127.0.0.1:") for address in (addresses.api, addresses.mlflow, addresses.prefect, addresses.metrics)
    )


def test_with_tls_the_installation_itself_goes_another_way_than_everybody_else(tmp_path: Path) -> None:
    settings = Settings(state=str(tmp_path), host="0.0.0.0", ports=ANY, serving=Serving(tls_certificate="c.pem"))
    addresses = choose(settings)
    assert addresses.public == f"https://127.0.0.1:{addresses.ports.api}"
    assert addresses.api == f"http://127.0.0.1:{addresses.ports.inner}" != addresses.public
    plain = choose(Settings(state=str(tmp_path), ports=ANY))
    assert plain.api == plain.public == f"http://127.0.0.1:{plain.ports.api}"
