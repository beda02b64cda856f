"""Scenario, runs, records, tables, figures: the road of evidence."""
