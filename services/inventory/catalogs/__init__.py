"""The text of controls, from the OSCAL catalogs that tenants load."""
