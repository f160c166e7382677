"""Claims that evidence turned against: found once, kept in order, told to whoever follows them."""
