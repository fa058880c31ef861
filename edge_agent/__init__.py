"""The daemon on each device."""
