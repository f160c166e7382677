"""The crypto service under load, and the libraries that it is held against."""
