"""A planner's state as one file, and back: consistent while it runs, verified before it replaces anything."""
