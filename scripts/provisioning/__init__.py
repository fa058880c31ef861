"""What `scripts/fleet` and `scripts/offline-bundle` are made of. The fleet needs no more than Python and ssh."""
