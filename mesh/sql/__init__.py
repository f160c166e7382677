"""Tables, rows and pages from the contracts; the only place that knows a SQL dialect."""
