"""The keys between the KMS and the values: made, wrapped, kept, remembered and taken back."""
