"""PySpark by hand: rows joined with the events of their longest window, and conditional aggregates; or a union with range windows."""

from pyspark.sql import SparkSession

from bench.history import DEAR, WINDOWS
from bench.peers.job import Job
from features.definitions import hop_us

SHUFFLES = 8
"""Partitions of a shuffle: quicker here than Spark's two hundred."""


def join(session: SparkSession, job: Job) -> None:
    """Rows joined with events, and one conditional aggregate a feature."""
    _open(session, job)
    columns = []
    for name, window_us in WINDOWS.items():
        inside = f"e.event_time >= {_start(window_us)}"
        n, total = f"count(1) FILTER (WHERE {inside})", f"sum(amount) FILTER (WHERE {inside})"
        columns += [
            f"CAST({n} AS DOUBLE) AS n_{name}",
            f"CAST(coalesce({total}, 0) AS DOUBLE) AS sum_{name}",
            f"coalesce(CAST({total} AS DOUBLE) / {n}, 0) AS mean_{name}",
            f"CAST(coalesce(sum(amount) FILTER (WHERE {inside} AND amount >= {DEAR}), 0) AS DOUBLE) AS dear_{name}",
        ]
    longest = max(WINDOWS.values())
    covered = f"e.entity_id = m.entity_id AND e.event_time < m.moment AND e.event_time >= {_start(longest)}"
    query = f"SELECT row_id, {', '.join(columns)} FROM spine m LEFT JOIN events e ON {covered} GROUP BY row_id"
    session.sql(query).write.mode("overwrite").parquet(str(job.out))


def ranges(session: SparkSession, job: Job) -> None:
    """Events and the edges of windows together, with prefix sums along them: a union with a window over all that came before."""
    _open(session, job)
    edges = ["SELECT row_id, entity_id, 'end' AS edge, moment AS place FROM spine"]
    columns = []
    for name, window_us in WINDOWS.items():
        edges.append(f"SELECT row_id, entity_id, '{name}', {_start(window_us).replace('m.', '')} FROM spine")
        n, total, dear = (
            f"(max({column}) FILTER (WHERE edge = 'end') - max({column}) FILTER (WHERE edge = '{name}'))"
            for column in ("n", "total", "dear")
        )
        columns += [
            f"CAST({n} AS DOUBLE) AS n_{name}",
            f"CAST({total} AS DOUBLE) AS sum_{name}",
            f"CASE WHEN {n} > 0 THEN CAST({total} AS DOUBLE) / {n} ELSE 0 END AS mean_{name}",
            f"CAST({dear} AS DOUBLE) AS dear_{name}",
        ]
    query = f"""
        WITH edges AS ({" UNION ALL ".join(edges)}),
        along AS (
            SELECT entity_id, event_time AS place, 1 AS later, CAST(NULL AS STRING) AS row_id, CAST(NULL AS STRING) AS edge, amount,
                   CASE WHEN amount >= {DEAR} THEN amount ELSE 0 END AS dear
            FROM events
            UNION ALL SELECT entity_id, place, 0, row_id, edge, 0, 0 FROM edges
        ),
        summed AS (
            SELECT row_id, edge, sum(later) OVER past AS n, sum(amount) OVER past AS total, sum(dear) OVER past AS dear
            FROM along WINDOW past AS (PARTITION BY entity_id ORDER BY place, later ROWS UNBOUNDED PRECEDING)
        )
        SELECT row_id, {", ".join(columns)} FROM summed WHERE row_id IS NOT NULL GROUP BY row_id
    """
    session.sql(query).write.mode("overwrite").parquet(str(job.out))


def _open(session: SparkSession, job: Job) -> None:
    session.conf.set("spark.sql.shuffle.partitions", SHUFFLES)
    session.read.parquet(*(f"file://{path}" for path in job.events)).createOrReplaceTempView("events")
    session.read.parquet(f"file://{job.spine}").createOrReplaceTempView("spine")


def _start(window_us: int) -> str:
    hop = hop_us(window_us)
    return f"((m.moment - {window_us}) - (m.moment - {window_us}) % {hop})"
