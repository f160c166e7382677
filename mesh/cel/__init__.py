"""Conditions in CEL, evaluated in memory and in SQL alike."""

from mesh.cel.language import Condition, Environment
from mesh.cel.sql import Columns, TableColumns
from mesh.cel.types import CelType

__all__ = ["CelType", "Columns", "Condition", "Environment", "TableColumns"]
