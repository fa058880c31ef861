"""Ingress: callers push items by the Open Inference Protocol, applications subscribe to results, sinks keep them."""
