"""Controls of a tenant's own: conditions in CEL with the examples that prove them."""
