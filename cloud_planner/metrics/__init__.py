"""The planner's figures for Prometheus."""
