"""Releases: the bundle, the ledger with stages and traffic plan, the inbox of triggers, the registry."""
