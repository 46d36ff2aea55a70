"""What is set: options, scales, and the type of a ledger entry. No torch."""
