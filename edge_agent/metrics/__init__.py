"""An agent's figures for Prometheus."""
