"""Traces of sampled items: contexts that travel with them, spans, and their way to a collector."""
