"""What keeps values of a store from those who read the database: sealing and hashing."""
