"""PySpark applications without a JVM.

Applications import :mod:`pyspark`, as ever. This package fills the place of PySpark's
``pyspark.core`` and joins it to the ``pyrite`` binary, which does the work of the JVM half.

Start reading at :mod:`pyrite.context` (the application's side), :mod:`pyrite.launcher` (how the
driver starts) and :mod:`pyrite.hooks` (how ``pyspark-client`` learns of it). Python workers load
this package with every ``import pyspark``, so it imports nothing heavy.
"""

# Each of the two packages imports the other; beginning with PySpark is what works both ways.
import pyspark  # noqa: F401

__version__ = "0.1.0"

__all__ = ["__version__"]
