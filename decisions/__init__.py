"""From features to a recorded decision, and from recorded decisions to their value: assignment, policies, scorers, log, estimates."""
