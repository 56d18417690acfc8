"""The sample application, run in every way that the README promises."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from conftest import BIN, SAMPLE_APP, Cluster, Programs

ELEMENTS = "20000"
OUTPUT = "Received 20000 rows of 1 column: squared\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A copy of the application whose ini names no master."""
    target = tmp_path / "app"
    shutil.copytree(SAMPLE_APP, target)
    ini = target / "data" / "data_source.ini"
    ini.write_text("[spark]\napp_name = sample\nmaster =\n", encoding="utf-8")
    return target


def set_master(app: Path, url: str) -> None:
    """Write a master URL into the application's ini."""
    (app / "data" / "data_source.ini").write_text(f"[spark]\napp_name = sample\nmaster = {url}\n", encoding="utf-8")


def test_python_with_local_master(programs: Programs, app: Path) -> None:
    set_master(app, "local[*]")
    assert programs.run(sys.executable, "main.py", ELEMENTS, cwd=app).ok().out == OUTPUT


def test_python_with_cluster(programs: Programs, app: Path, cluster: Cluster) -> None:
    set_master(app, cluster.url)
    assert programs.run(sys.executable, "main.py", ELEMENTS, cwd=app).ok().out == OUTPUT


def test_spark_submit(programs: Programs, app: Path, master: str) -> None:
    result = programs.run(BIN / "spark-submit", "--master", master, "main.py", ELEMENTS, cwd=app).ok()
    assert result.out == OUTPUT


def test_spark_submit_with_local_cluster(programs: Programs, app: Path) -> None:
    command = [BIN / "spark-submit", "--master", "local-cluster[2,1,1024]", "main.py", ELEMENTS]
    assert programs.run(*command, cwd=app).ok().out == OUTPUT


SHOW_CONF = """
from pyspark import SparkConf, SparkContext
sc = SparkContext(conf=SparkConf().set("spark.code", "code").set("spark.app.name", "from code"))
conf = sc.getConf()
for key in ("spark.code", "spark.flag", "spark.file", "spark.app.name", "spark.master"):
    print(key, conf.get(key))
print(sc.appName, sc.master, sc.defaultParallelism)
"""


def test_settings_that_disagree_follow_sparks_precedence(programs: Programs, tmp_path: Path) -> None:
    conf_dir = tmp_path / "conf"
    conf_dir.mkdir()
    (conf_dir / "spark-defaults.conf").write_text(
        "# three sources disagree\n"
        "spark.master            local[7]\n"
        "spark.app.name          from file\n"
        "spark.code=file\n"
        "spark.flag: file\n"
        "spark.file              file\n",
        encoding="utf-8",
    )
    script = programs.script("show_conf.py", SHOW_CONF)
    submit = [BIN / "spark-submit", "--master", "local[3]", "--name", "from flag"]
    submit += ["--conf", "spark.code=flag", "-c", "spark.flag=flag", script]
    expected = ["spark.code code", "spark.flag flag", "spark.file file", "spark.app.name from code"]
    expected += ["spark.master local[3]", "from code local[3] 3"]
    assert programs.run(*submit, SPARK_CONF_DIR=str(conf_dir)).ok().out.splitlines() == expected

    plain = programs.run(sys.executable, script, SPARK_CONF_DIR=str(conf_dir)).ok().out.splitlines()
    assert plain[1] == "spark.flag file"
    assert plain[-1] == "from code local[7] 7"
