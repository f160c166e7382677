"""The schema of the crypto service in versions, each made once by Alembic."""
