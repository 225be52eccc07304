"""One folder a use case: what a user edits."""
