"""Flags in ``PYSPARK_SUBMIT_ARGS``, with which notebooks configure the context they create."""

import argparse
import shlex
from typing import Dict

from pyspark.errors import IllegalArgumentException

_FLAGS = {
    "--master": "spark.master",
    "--name": "spark.app.name",
    "--driver-memory": "spark.driver.memory",
    "--driver-cores": "spark.driver.cores",
    "--executor-memory": "spark.executor.memory",
    "--executor-cores": "spark.executor.cores",
    "--num-executors": "spark.executor.instances",
    "--total-executor-cores": "spark.cores.max",
    "--py-files": "spark.submit.pyFiles",
    "--files": "spark.files",
    "--archives": "spark.archives",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise IllegalArgumentException(f"PYSPARK_SUBMIT_ARGS: {message}")


def settings_of_flags(text: str) -> Dict[str, str]:
    """Return the settings that spark-submit's flags stand for.

    Examples
    --------
    >>> settings_of_flags("--master local[2] --conf spark.ui.enabled=false pyspark-shell")
    {'spark.ui.enabled': 'false', 'spark.master': 'local[2]'}
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flag, key in _FLAGS.items():
        parser.add_argument(flag, dest=key)
    parser.add_argument("--conf", "-c", action="append", default=[])
    parser.add_argument("program", nargs="?")
    found = vars(parser.parse_args(shlex.split(text)))
    settings: Dict[str, str] = {}
    for pair in found["conf"]:
        key, separator, value = pair.partition("=")
        if not separator:
            raise IllegalArgumentException(f"PYSPARK_SUBMIT_ARGS: --conf needs key=value, not `{pair}`")
        settings[key] = value
    settings.update((key, found[key]) for key in _FLAGS.values() if found[key] is not None)
    return settings
