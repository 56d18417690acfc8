"""Record what Apache Spark answers to the statements of a file.

Run as ``python record.py data/x.sql`` with pyspark 4.2 and Java installed; writes ``data/x.txt``, which the
test ``sql_answers`` compares with. Statements end with ``;`` at the end of a line.
"""

import sys
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession


def main() -> None:
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    for name in sys.argv[1:]:
        source = Path(name)
        out = []
        for statement in source.read_text().split(";\n"):
            statement = statement.strip()
            if not statement:
                continue
            out.append(f">>> {statement}")
            try:
                frame = spark.sql(statement)
                answer = [frame.schema.simpleString()]
                if frame.columns:
                    rows = frame._jdf.showString(1000, 0, False).rstrip("\n").split("\n")
                    if "order by" not in statement.lower():
                        rows = rows[:3] + sorted(rows[3:-1]) + rows[-1:]
                    answer.extend(rows)
                out.extend(answer)
            except PySparkException as error:
                out.append(f"error {error.getCondition()}")
            out.append("<<<")
        source.with_suffix(".txt").write_text("\n".join(out) + "\n")
    spark.stop()


main()
