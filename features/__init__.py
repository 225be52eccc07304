"""What a feature means, and the engines that compute it: DuckDB over tables, and the online state of one entity."""
