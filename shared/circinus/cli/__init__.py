"""The `circinus` command."""
