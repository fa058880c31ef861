"""A report of a fleet that can be mailed: facts from the planner, one HTML page without anything from elsewhere."""
