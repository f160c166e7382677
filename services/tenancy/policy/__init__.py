"""What IAM policies allow, computed here: they are proved against calls before AWS sees them.

Pure: no I/O. Rules are those of "Policy evaluation logic" and "IAM JSON policy elements" in the
IAM user guide, for identity and session policies of one account.
"""
