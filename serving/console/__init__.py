"""The console: the pages on which people see the loop, decide on releases, and undo them. A Serve application of its own."""

__all__ = ["ROOT"]

ROOT = "/console"
"""Where its pages are."""
