"""The goals of `performance.md`, one module for those that share a set-up."""

from . import databases, flatness, footprint, load_levels, neighbours, overload, proxies

# In the order in which they run and are reported. Each has NAME, GOALS, TITLE and `measure(settings) -> Section`.
ALL = [proxies, databases, load_levels, overload, neighbours, footprint, flatness]
