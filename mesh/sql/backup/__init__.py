"""Backups of a whole store: written whole or not at all, checked before they are trusted."""
