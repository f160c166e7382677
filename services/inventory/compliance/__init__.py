"""What a System Security Plan claims, weighed against what was collected."""
