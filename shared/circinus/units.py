"""Factors between units. A number's name ends in its unit; these are how one becomes another."""

from __future__ import annotations

BITS_PER_BYTE = 8
MS_PER_S = 1000.0
S_PER_H = 3600.0
BYTES_PER_GB = 1e9
BYTES_PER_MIB = 1024 * 1024
