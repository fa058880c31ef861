"""`circinus top`: a live picture of a fleet, its queries and what happens, in a terminal.

What is shown is worked out by pure modules: view (what keys do), columns and dag (what lines say), draw (what stands on
the screen). gathering and following ask the planner; screen is the only one that knows textual.
"""
