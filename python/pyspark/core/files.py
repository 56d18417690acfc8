"""Re-exports :mod:`pyrite.files`."""

from pyrite.files import SparkFiles

__all__ = ["SparkFiles"]
