"""From the log to a candidate for release: data set, split, fit, evaluation, gate; and the import of a logged experiment."""
