"""Items between operators and devices: queues, joins, routes, links, and the book of outcomes."""
