"""Dashboards, metrics and reports, computed from records as they are."""
