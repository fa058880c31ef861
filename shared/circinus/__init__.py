"""What operator authors, both daemons and the client share."""

__version__ = "0.1.0"
