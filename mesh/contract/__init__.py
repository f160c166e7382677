"""The contracts as the runtime sees them: descriptors, options and comments."""
