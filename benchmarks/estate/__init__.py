"""A large estate: many accounts with as many resources as are asked for, from a seed."""
