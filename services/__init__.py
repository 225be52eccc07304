"""What `offerloop up` starts, watches, restarts and ends: each service its own process, found again by a mark in its environment."""
