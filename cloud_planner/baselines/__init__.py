"""Planners that ours is compared with, on the same measured tables. PURE."""
