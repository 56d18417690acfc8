"""Fills the place that ``pyspark-client`` leaves for SparkContext and RDD.

The modules here only re-export what :mod:`pyrite` implements. Being importable is what turns
``pyspark.util.is_remote_only()`` off, so this is also where the hooks get installed.
"""

from pyrite import hooks as _hooks

_hooks.install()
