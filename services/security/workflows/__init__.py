"""Workflows that run: plans, the runs that follow them, what starts them."""
