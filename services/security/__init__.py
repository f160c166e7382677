"""The security service: the records of security work, kept in PostgreSQL."""
