"""Feeds: files, folders, cameras and microphones of the device, as items. They run in a source's own process."""
