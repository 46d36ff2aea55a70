"""The parts of models: attention, adapters, the interaction of two encoders, temporal attention, heads."""
