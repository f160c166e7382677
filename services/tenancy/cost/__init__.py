"""What the service costs: units as tests hold the code to them, prices as AWS lists them."""
