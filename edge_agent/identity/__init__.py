"""Who a box is: its key and certificate, how it gets and renews them, and whose directives it obeys."""
