"""Frozen values that operator authors, both daemons and the client share."""
