"""The dialect of each database, by the name that SQLAlchemy gives it."""

from collections.abc import Mapping

from mesh.cel.dialect import SQLITE, Dialect
from mesh.cel.postgres import POSTGRESQL

DIALECTS: Mapping[str, Dialect] = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
