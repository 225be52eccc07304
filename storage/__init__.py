"""The embedded stores: the journal that answers are durable in, and the Parquet tables it drains to."""
