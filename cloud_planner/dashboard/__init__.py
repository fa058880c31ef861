"""The dashboard: the fleet and its queries in a browser, served by the planner itself (extra ``web``)."""
