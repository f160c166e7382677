"""Files what assessments found as records of the security service."""
