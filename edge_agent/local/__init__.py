"""What a pipeline's author does on one machine, without a planner: check and profile a folder.

The command line plugs it in (``circinus pipeline check`` and ``profile``): it runs operators, which is the agent's
part, with the agent's own profiler.
"""
