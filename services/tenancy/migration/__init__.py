"""From the old system, PostgreSQL with credentials under Fernet, into this one, and back."""
