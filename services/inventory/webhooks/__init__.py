"""Messages to receivers of a tenant: written with what they tell of, signed, sent until taken."""
