"""Planning from files: no fleet, no daemon. See docs/offline.md for the format."""
