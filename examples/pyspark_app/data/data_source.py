"""A data source that computes on Spark: NumPy in, pandas out."""

import configparser
import os

import numpy as np
import pandas as pd
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession
from pyspark.sql.types import FloatType, StructField, StructType

CONFIG_FILE = os.path.join("data", "data_source.ini")


class DataSource:
    """Connection to Spark, set up from ``data/data_source.ini``.

    ``SPARK_MASTER`` in the environment replaces the configured master URL, so that the
    same tree runs on a laptop, in CI and against a cluster.
    """

    def __init__(self) -> None:
        config = configparser.ConfigParser()
        with open(CONFIG_FILE, encoding="utf-8") as file:
            config.read_file(file)
        settings = config["spark"]
        conf = SparkConf().setAppName(settings["app_name"])
        master = os.environ.get("SPARK_MASTER", settings.get("master", ""))
        if master:
            conf = conf.setMaster(master)
        self.context = SparkContext(conf=conf)
        self.session = SparkSession.builder.config(conf=conf).getOrCreate()

    def get_data(self, num_elements: int) -> pd.DataFrame:
        """Draw random numbers, double them on the cluster, square them in SQL.

        Parameters
        ----------
        num_elements
            How many numbers to draw from the standard normal distribution.

        Returns
        -------
        pandas.DataFrame
            One column, ``squared``, with a row for each number; strings, because the
            function is registered without a return type.
        """

        # Defined here and not in the module: workers of a cluster do not have this file, so
        # the function has to travel by value.
        def square(value: float) -> float:
            return value * value

        values = np.random.default_rng().normal(size=num_elements)
        factor = np.array([2])
        rdd = self.context.parallelize(values).map(lambda x: x * factor).map(lambda x: (float(x[0]),))
        schema = StructType([StructField("value", FloatType(), True)])
        self.session.createDataFrame(rdd, schema).createOrReplaceTempView("test")
        self.session.udf.register("squared", square)
        return self.session.sql("SELECT squared(value) squared FROM test").toPandas()

    def close(self) -> None:
        """Disconnect from Spark."""
        self.session.stop()
        self.context.stop()
