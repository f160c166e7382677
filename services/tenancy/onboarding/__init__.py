"""How a cloud account comes to trust this service, and how that is proved."""
