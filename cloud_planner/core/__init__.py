"""The planner's pure core: no I/O, no clock, no global randomness."""
