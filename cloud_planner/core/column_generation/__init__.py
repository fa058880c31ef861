"""Column generation over the whole plan space: prices, a proven bound, a selection that gets better. PURE."""
