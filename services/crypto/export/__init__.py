"""All that is known of a person, in one signed file for that person."""
