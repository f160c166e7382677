"""What Alembic runs around the versions; whoever calls it holds the transaction and the lock."""

from alembic import context

from services.crypto.migrations.standing import VERSION_TABLE

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", version_table=VERSION_TABLE)
else:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, version_table=VERSION_TABLE)
context.run_migrations()
