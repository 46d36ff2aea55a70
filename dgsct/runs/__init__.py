"""A run: its description, its options, the protocols and the experiments that ask for it. No torch."""
