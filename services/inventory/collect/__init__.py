"""From AWS's answers to records: one collector per kind, and the runs that drive them."""
