"""DuckDB SQL by hand: one sort of events and the edges of windows together, with prefix sums along it."""

import duckdb

from bench.history import DEAR, WINDOWS
from bench.peers.job import Job, main
from features.definitions import hop_us


def compute(job: Job) -> None:
    """As said above, from Parquet to Parquet."""
    edges = ["SELECT row_id, entity_id, 'end' AS edge, moment AS place FROM spine"]
    columns = []
    for name, window_us in WINDOWS.items():
        hop = hop_us(window_us)
        edges.append(f"SELECT row_id, entity_id, '{name}', (moment - {window_us}) // {hop} * {hop} FROM spine")
        n, total, dear = (
            f"(max({column}) FILTER (edge = 'end') - max({column}) FILTER (edge = '{name}'))" for column in ("n", "total", "dear")
        )
        columns += [
            f"{n}::DOUBLE AS n_{name}",
            f"{total}::DOUBLE AS sum_{name}",
            f"CASE WHEN {n} > 0 THEN {total}::DOUBLE / {n}::DOUBLE ELSE 0 END AS mean_{name}",
            f"{dear}::DOUBLE AS dear_{name}",
        ]
    query = f"""
        WITH spine AS (FROM read_parquet('{job.spine}')),
        edges AS ({" UNION ALL ".join(edges)}),
        along AS (
            SELECT entity_id, event_time AS place, 1 AS later, NULL AS row_id, NULL AS edge, amount,
                   CASE WHEN amount >= {DEAR} THEN amount ELSE 0 END AS dear
            FROM read_parquet({[str(path) for path in job.events]})
            UNION ALL SELECT entity_id, place, 0, row_id, edge, 0, 0 FROM edges
        ),
        summed AS (
            SELECT row_id, edge, sum(later) OVER past AS n, sum(amount) OVER past AS total, sum(dear) OVER past AS dear
            FROM along WINDOW past AS (PARTITION BY entity_id ORDER BY place, later ROWS UNBOUNDED PRECEDING)
        )
        SELECT row_id, {", ".join(columns)} FROM summed WHERE row_id IS NOT NULL GROUP BY row_id
    """
    with duckdb.connect() as engine:
        engine.execute(f"COPY ({query}) TO '{job.out}' (FORMAT parquet)")


if __name__ == "__main__":
    main(compute)
