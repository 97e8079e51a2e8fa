"""Metrics for Prometheus, read at a scrape from what the parts know of themselves; nothing of it is in the parts' way."""
