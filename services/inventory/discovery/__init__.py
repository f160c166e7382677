"""Organizations of AWS: their accounts are listed, and compared with those that are registered."""
