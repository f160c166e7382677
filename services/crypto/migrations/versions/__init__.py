"""One file for each version, in their order; what is released is never edited."""
