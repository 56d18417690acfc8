"""What goes wrong says so, in one clear message, and hurts nobody else."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
from conftest import PYRITE, Cluster, Programs, free_port, wait_until

HEAD = "import sys\nfrom pyspark import SparkConf, SparkContext\n"
CONTEXT = HEAD + "sc = SparkContext(conf=SparkConf().setAppName('bad').setMaster(sys.argv[1]))\n"


def failure(programs: Programs, text: str, *arguments: str, **environment: str) -> str:
    """Run a program that must fail; return its standard error."""
    result = programs.run(sys.executable, programs.script("bad.py", text), *arguments, **environment)
    assert result.status == 1, result
    return result.err


def test_unreachable_master_is_named(programs: Programs) -> None:
    url = f"spark://127.0.0.1:{free_port()}"
    text = HEAD + (
        "conf = SparkConf().setAppName('x').setMaster(sys.argv[1])\n"
        "conf.set('spark.pyrite.registration.timeout', '300ms')\n"
        "SparkContext(conf=conf)\n"
    )
    err = failure(programs, text, url)
    assert url in err and "All masters are unresponsive" in err


@pytest.mark.parametrize("url", ["spark://nowhere", "local[x]", "yarn", "spark://h:7077,h2"])
def test_malformed_master_url(programs: Programs, url: str) -> None:
    err = failure(programs, CONTEXT, url)
    assert url in err and "aster" in err


def test_missing_master(programs: Programs) -> None:
    err = failure(programs, HEAD + "SparkContext(conf=SparkConf().setAppName('x').set('spark.master', ''))\n")
    assert "A master URL must be set in your configuration" in err


def test_malformed_defaults_file_names_file_and_line(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "spark-defaults.conf").write_text("spark.executor.memory 1g\nspark.driver.memory \\u12\n")
    err = failure(programs, CONTEXT, "local[1]", SPARK_CONF_DIR=str(tmp_path))
    assert "spark-defaults.conf" in err and "2" in err


def test_bad_size_in_conf(programs: Programs) -> None:
    text = HEAD + "SparkContext(conf=SparkConf().setAppName('x').setMaster('local').set('spark.driver.memory', '1x'))\n"
    err = failure(programs, text)
    assert "spark.driver.memory" in err and "1x" in err


def test_busy_port_is_retried(programs: Programs, own_cluster: Cluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own_cluster.port))
        taken.listen()
        own_cluster.start_master()
        log = own_cluster.master_log.read_text()
        assert f"spark://127.0.0.1:{own_cluster.port + 1}" in log, log


def test_no_port_left_fails_with_the_service_name(programs: Programs) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        conf = programs.directory / "master.conf"
        conf.write_text("spark.port.maxRetries 0\n")
        command = [
            PYRITE,
            "master",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--webui-port",
            "0",
        ]
        result = programs.run(*command, "--properties-file", conf)
        assert result.status == 1
        assert str(port) in result.err + result.out and "retries" in result.err + result.out


def test_exception_in_a_function_shows_the_users_traceback(programs: Programs, master: str) -> None:
    text = CONTEXT + (
        "from pyspark.errors import PythonException\n"
        "def explode(x):\n"
        "    raise ValueError('no good: %d' % x)\n"
        "try:\n"
        "    sc.parallelize([1], 1).map(explode).collect()\n"
        "except PythonException as error:\n"
        "    print(error)\n"
        "print(sc.parallelize([1, 2], 1).sum())\n"
    )
    out = programs.run(sys.executable, programs.script("bad.py", text), master).ok().out
    assert "ValueError: no good: 1" in out
    assert 'bad.py", line 6, in explode' in out
    assert out.endswith("3\n"), "the context works on"


def test_exception_in_a_udf(programs: Programs, master: str) -> None:
    text = CONTEXT + (
        "from pyspark.errors import PythonException\n"
        "from pyspark.sql import SparkSession\n"
        "from pyspark.sql.functions import udf\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "def explode(x):\n"
        "    return 1 // x\n"
        "try:\n"
        "    spark.range(1).select(udf(explode, 'bigint')('id')).collect()\n"
        "except PythonException as error:\n"
        "    print(error)\n"
        "print(spark.range(3).count())\n"
    )
    out = programs.run(sys.executable, programs.script("bad.py", text), master).ok().out
    assert "ZeroDivisionError" in out and 'bad.py", line 9, in explode' in out
    assert out.endswith("3\n")


def test_function_killed_by_the_system(programs: Programs, master: str) -> None:
    text = CONTEXT + (
        "def die(x):\n"
        "    import os, signal\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "try:\n"
        "    sc.parallelize([1], 1).map(die).collect()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "print(sc.parallelize([1, 2], 1).sum())\n"
    )
    out = programs.run(sys.executable, programs.script("bad.py", text), master).ok().out
    assert "Python worker exited unexpectedly (crashed)" in out
    assert out.endswith("3\n")


def test_closure_that_cannot_be_pickled(programs: Programs) -> None:
    text = CONTEXT + (
        "import threading\n"
        "lock = threading.Lock()\n"
        "try:\n"
        "    sc.parallelize([1], 1).map(lambda x: (x, lock)).collect()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "try:\n"
        "    sc.parallelize([1], 1).map(lambda x: sc).collect()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    lines = programs.run(sys.executable, programs.script("bad.py", text), "local[1]").ok().out.splitlines()
    assert "Could not serialize object: TypeError: cannot pickle '_thread.lock' object" in lines[0]
    assert "CONTEXT_ONLY_VALID_ON_DRIVER" in lines[1] or "SparkContext" in lines[1]


def test_rows_that_break_their_schema(programs: Programs, master: str) -> None:
    text = CONTEXT + (
        "from pyspark.errors import PythonException\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "frame = spark.createDataFrame(sc.parallelize([(1,), ('two',)]), 'n INT')\n"
        "try:\n"
        "    frame.collect()\n"
        "except PythonException as error:\n"
        "    print(error)\n"
    )
    out = programs.run(sys.executable, programs.script("bad.py", text), master).ok().out
    assert "FIELD_DATA_TYPE_UNACCEPTABLE" in out and "two" in out, out


def test_missing_python_on_the_workers(programs: Programs, cluster: Cluster) -> None:
    text = CONTEXT + "sc.parallelize([1], 1).count()\n"
    err = failure(programs, text, cluster.url, PYSPARK_PYTHON="/nowhere/python3")
    assert "/nowhere/python3" in err


def test_python_of_another_version_on_the_workers(programs: Programs, cluster: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "python3"
    other.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c \"import sys; sys.version_info = (3, 6, 0, 'final', 0); "
        "sys.argv = ['daemon', 'pyspark.worker']; import runpy; runpy.run_module('pyspark.daemon', None, '__main__')\"\n"
    )
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    text = CONTEXT + "sc.parallelize([1], 1).count()\n"
    err = failure(programs, text, cluster.url, PYSPARK_PYTHON=str(other))
    assert "PYTHON_VERSION_MISMATCH" in err or "version" in err


def test_reaching_for_the_jvm_says_what_to_do(programs: Programs) -> None:
    err = failure(programs, CONTEXT + "sc._jvm.java.lang.System.currentTimeMillis()\n", "local[1]")
    assert "no JVM" in err


def test_second_context_is_refused(programs: Programs) -> None:
    err = failure(programs, CONTEXT + "SparkContext('local', 'second')\n", "local[1]")
    assert "Cannot run multiple SparkContexts at once" in err


def test_interrupt_ends_the_application(programs: Programs) -> None:
    text = CONTEXT + (
        "def task(x, marker=sys.argv[2]):\n"
        "    import time\n"
        "    open(marker, 'w').close()\n"
        "    time.sleep(60)\n"
        "sc.parallelize([1], 1).map(task).count()\n"
    )
    marker = programs.directory / "started"
    application = programs.start(sys.executable, programs.script("bad.py", text), "local[1]", str(marker))
    wait_until(marker.exists, "the task started", 20)
    os.kill(application.pid, signal.SIGINT)
    _, err = application.communicate(timeout=10)
    assert "KeyboardInterrupt" in err


def test_spark_submit_refuses_what_it_does_not_know(programs: Programs) -> None:
    from conftest import BIN

    result = programs.run(BIN / "spark-submit", "--no-such-flag", "x.py")
    assert result.status == 1 and "--no-such-flag" in result.err
    missing = programs.run(BIN / "spark-submit", "--master", "local", "nowhere.py")
    assert missing.status != 0 and "nowhere.py" in missing.err
    text = programs.script("seven.py", "import sys\nsys.exit(7)\n")
    assert programs.run(BIN / "spark-submit", "--master", "local", text).status == 7
