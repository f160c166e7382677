"""Plans in documents that are no OSCAL: tables, text, Word and PDF."""
