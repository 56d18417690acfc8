"""Start-up file of the interactive shell: defines ``sc``, ``spark`` and ``sqlContext``.

``pyrite shell`` runs Python with ``PYTHONSTARTUP`` set to this file, so the names it defines are
those of the prompt. A start-up file of the user's own runs afterwards.
"""

import os
import platform

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession, SQLContext

sc = SparkContext.getOrCreate(SparkConf())
spark = SparkSession.builder.getOrCreate()
sqlContext = SQLContext(sc, spark)
sql = spark.sql

print(
    f"Spark {sc.version} on Pyrite, Python {platform.python_version()}.\n"
    f"SparkContext is `sc` (master {sc.master}, application {sc.applicationId}), "
    "SparkSession is `spark`."
)
if sc.uiWebUrl:
    print(f"Web pages: {sc.uiWebUrl}")

_startup = os.environ.get("OLD_PYTHONSTARTUP")
if _startup and os.path.isfile(_startup):
    with open(_startup, encoding="utf-8") as _file:
        exec(compile(_file.read(), _startup, "exec"))
