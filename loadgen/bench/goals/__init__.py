"""The goals of `performance.md`, one module for those that share a set-up."""

from . import databases, proxies

# In the order in which they run and are reported. Each has NAME, GOALS, TITLE and `measure(settings) -> Section`.
ALL = [proxies, databases]
