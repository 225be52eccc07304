"""The shapes that folders share: records, tables, settings, errors. No I/O."""
