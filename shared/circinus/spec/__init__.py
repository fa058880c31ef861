"""YAML files <-> model values; every error of a file at once, each with its line."""
