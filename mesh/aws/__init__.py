"""AWS as this project reads it: accounts, what answers mean, and calls accounted for."""
