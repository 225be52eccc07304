"""What a person asks at three in the morning: measured from the tables, exported as metrics, drawn on a dashboard."""
