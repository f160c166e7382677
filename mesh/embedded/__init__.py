"""Stand-ins for the real backends, on loopback, with nothing to install but wheels."""
