"""Generated from protos/; see scripts/protos."""
