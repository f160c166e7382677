"""Quality gates: a project's records measured, held against the conditions of its gate."""
