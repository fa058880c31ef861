"""What a box is: one noun a file, put together into a Device by ``device.py``."""
