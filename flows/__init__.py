"""Prefect flows: thin, one a file. The work itself lives in the folders below; nothing of this is on the request path."""
