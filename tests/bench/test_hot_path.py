from bench.hot_path import phases

STACKS = """\
loop (uvicorn/server.py:70);done (serving/direct.py:90);decide (decisions/decide.py:140);scores (decisions/compiled.py:44) 4
loop (uvicorn/server.py:70);done (serving/direct.py:90);submit (serving/service.py:150);get_state (storage/journal.py:60) 2
run (threading.py:1);_commit (storage/journal.py:300);record_decision (decisions/record.py:90);apply (features/online.py:80) 1
run (threading.py:1);_commit (storage/journal.py:300) 1
run (threading.py:1);poll (somewhere.py:300) 1
bootstrap (threading.py:9);Thread.run (threading.py:1) 1
"""


def test_a_stack_belongs_to_the_innermost_work_that_it_does() -> None:
    assert phases(STACKS.splitlines(), 1_000.0) == {
        "scoring": 400.0,
        "features": 200.0,
        "the rest": 100.0,
        "sockets: uvloop, outside Python": 100.0,
        "the record: encoded, and its entity's state moved on": 100.0,
        "commit: LMDB, its sync, handing over": 100.0,
    }
