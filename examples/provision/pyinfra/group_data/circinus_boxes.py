"""What all boxes of the group share."""

ssh_user = "root"
planner = "10.0.0.1:7400"
# Made by scripts/offline-bundle; leave it out to install from PyPI.
# bundle = "circinus-bundle.tar"
