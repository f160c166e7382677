"""An account of some size on the embedded endpoint, and what a process spends on reading it."""
