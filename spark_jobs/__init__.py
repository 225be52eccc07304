"""The Spark twins of the feature jobs, for tables that one machine does not hold."""
