import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import StateRefused
from services.state import ServiceState, State, claimed, read, supervisor, write
from storage.layout import Layout

HOLD = """
import sys, time
from pathlib import Path
from services.state import claimed
from storage.layout import Layout
with claimed(Layout(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_supervisor_is_refused_with_the_firsts_process_id_until_that_is_killed(tmp_path: Path, repository: Path) -> None:
    layout = Layout(tmp_path)
    assert supervisor(layout) is None
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, cwd=repository) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
            assert supervisor(layout) == holder.pid
            with pytest.raises(StateRefused, match=f"process {holder.pid} runs"), claimed(layout):
                pass
        finally:
            holder.kill()
    assert supervisor(layout) is None
    with claimed(layout):
        pass


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.run.mkdir()
    assert read(layout) is None
    state = State(7, 1.0, (ServiceState("ray", "Ray", "", "ready", 12), ServiceState("serve", "decision API", "")))
    write(layout, state)
    assert read(layout) == state
    assert not state.ready
    assert (layout.run / "services.json").read_bytes() == b'{"ray":12}'
