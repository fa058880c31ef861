"""Copy to inventory.py and edit. Names are device ids."""

circinus_boxes = [
    ("shop-1-counter", {"ssh_hostname": "10.0.1.10", "site": "shop-1", "labels": {"zone": "north"}}),
    ("shop-2-counter", {"ssh_hostname": "10.0.2.10", "site": "shop-2"}),
]
