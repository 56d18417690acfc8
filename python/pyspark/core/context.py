"""Re-exports :mod:`pyrite.context`."""

from pyrite.context import SparkContext

__all__ = ["SparkContext"]
