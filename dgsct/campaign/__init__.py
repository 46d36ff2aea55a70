"""What a campaign costs before it begins, and where it stands while it runs."""
