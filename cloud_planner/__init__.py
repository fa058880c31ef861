"""The central planner."""
