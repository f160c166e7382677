"""Names of the tables of plans and assessments."""

SSPS = "ssps"
CLAIMS = "claims"
PASSAGES = "passages"
ASSESSMENTS = "assessments"
VERDICTS = "verdicts"
