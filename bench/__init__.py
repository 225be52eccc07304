"""Measured targets: speed as a ratio against a peer in the same run, money and reliability as figures. Nothing here is a test."""
