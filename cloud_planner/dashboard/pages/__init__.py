"""The dashboard's pages: each module has one, as ``PAGE``. Put a module here and its page is there."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from cloud_planner.dashboard.page import Page


def pages() -> tuple[Page, ...]:
    """Every page, in the order of the navigation.

    Raises:
        TypeError: a module has none.
    """
    found = []
    for module in pkgutil.iter_modules(__path__):
        page = getattr(import_module(f"{__name__}.{module.name}"), "PAGE", None)
        if not isinstance(page, Page):
            raise TypeError(f"{__name__}.{module.name} has no PAGE")
        found.append(page)
    return tuple(sorted(found, key=lambda one: (one.order, one.title)))


__all__ = ["pages"]
