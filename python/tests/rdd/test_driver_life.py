"""The application's hold on its driver: start, failure, death, stop."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest
from fake import fake_binary, sc
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkAttributeError, PySparkException

from pyrite.rdd import portable_hash


def test_unreachable_master_is_named(fake_binary, monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    with pytest.raises(PySparkException, match="spark://nowhere:7077"):
        SparkContext("spark://nowhere:7077", "x")
    assert SparkContext._active_spark_context is None


def test_missing_binary_is_named(monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", "/nonexistent/pyrite")
    with pytest.raises(PySparkException, match="/nonexistent/pyrite"):
        SparkContext("local", "x")


def test_binary_that_dies_at_once_is_reported(monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", "/bin/false")
    with pytest.raises(PySparkException, match="exited with status 1"):
        SparkContext("local", "x")


def test_second_context_is_refused(sc):
    with pytest.raises(ValueError, match="Cannot run multiple SparkContexts at once; existing SparkContext"):
        SparkContext("local", "y")
    assert SparkContext.getOrCreate() is sc


def test_settings_in_code_reach_the_driver(fake_binary, monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    monkeypatch.setenv("PYRITE_SUBMIT_CONF", '{"spark.a": "flag", "spark.b": "flag"}')
    conf = SparkConf().setAppName("named").set("spark.a", "code").setMaster("local[3]")
    with SparkContext(conf=conf) as sc:
        assert (sc.appName, sc.master, sc.defaultParallelism) == ("named", "local[3]", 3)
        assert (sc.getConf().get("spark.a"), sc.getConf().get("spark.b")) == ("code", "flag")


def test_death_of_the_driver_fails_running_and_later_calls_at_once(sc):
    sc.setJobDescription("die")
    started = time.monotonic()
    with pytest.raises(PySparkException, match=r"driver of this application is gone .*status 7"):
        sc.parallelize([1]).collect()
    with pytest.raises(PySparkException, match="driver of this application is gone"):
        sc.parallelize([1]).count()
    assert time.monotonic() - started < 5


def test_stop_ends_the_driver_and_its_directory(fake_binary, monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    sc = SparkContext("local", "x")
    rdd = sc.parallelize([1])
    local_dir, driver = sc._local_dir, sc._driver
    sc.stop()
    sc.stop()
    assert not driver.is_alive()
    assert not os.path.exists(local_dir)
    with pytest.raises(PySparkException, match="stopped SparkContext"):
        rdd.count()
    with pytest.raises(PySparkException, match="stopped SparkContext"):
        sc.parallelize([1])


def _sleep(ready):
    ready.set()
    time.sleep(30)


def test_forked_child_does_not_keep_the_driver_alive(fake_binary, monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    sc = SparkContext("local", "x")
    methods = multiprocessing.get_context("fork")
    ready = methods.Event()
    child = methods.Process(target=_sleep, args=(ready,))
    child.start()
    try:
        assert ready.wait(10)
        sc._driver.drop_lifeline()
        assert sc._driver.wait_ended(10), "the child of the application still holds the lifeline"
    finally:
        child.kill()
        child.join()
        sc.stop()


def test_jvm_attributes_say_that_there_is_no_jvm(sc):
    for name in ("_jvm", "_jsc", "_gateway"):
        with pytest.raises(PySparkAttributeError, match="no JVM"):
            getattr(sc, name)
    assert SparkContext._jvm is None


def test_missing_features_are_named(sc, tmp_path):
    with pytest.raises(PySparkException, match="some.OutputFormat"):
        sc.parallelize([(1, 2)]).saveAsHadoopFile(str(tmp_path / "out"), "some.OutputFormat")
    with pytest.raises(PySparkException, match="some.InputFormat"):
        sc.newAPIHadoopFile(str(tmp_path), "some.InputFormat", "", "")
    with pytest.raises(PySparkException, match="some.Converter"):
        sc.sequenceFile(str(tmp_path), keyConverter="some.Converter")


def test_error_of_user_code_carries_its_traceback(sc):
    def fails(x):
        return 1 // x

    with pytest.raises(PySparkException, match="ZeroDivisionError") as caught:
        sc.parallelize([0]).map(fails).collect()
    assert type(caught.value).__name__ == "PythonException"
    assert "in fails" in str(caught.value)


def test_long_errors_arrive_whole(sc):
    def fails(x):
        raise ValueError("start" + "x" * 200_000 + "end")

    with pytest.raises(PySparkException, match=r"ValueError: startx+end"):
        sc.parallelize([0]).map(fails).collect()


def test_properties_belong_to_their_thread(sc):
    import threading

    sc.setJobGroup("group", "text")
    sc.addJobTag("tag")
    seen = []
    thread = threading.Thread(target=lambda: seen.append((sc.getLocalProperty("spark.jobGroup.id"), sc.getJobTags())))
    thread.start()
    thread.join()
    assert seen == [(None, set())]
    assert sc.getLocalProperty("spark.jobGroup.id") == "group"
    request = sc._jobs.request(sc.parallelize([1])).request
    assert (request.job_group, request.description, list(request.tags)) == ("group", "text", ["tag"])
    assert request.call_site.startswith("request at test_driver_life.py:")


def test_large_collections_lie_in_a_file(sc):
    rdd = sc.parallelize([os.urandom(100_000) for _ in range(10)], 2)
    assert all(part.file for part in rdd._source.slices)
    assert rdd.map(len).sum() == 1_000_000


def test_added_files_are_found(sc, tmp_path):
    from pyspark import SparkFiles

    (tmp_path / "data.txt").write_text("42")
    (tmp_path / "helper_module_of_test.py").write_text("VALUE = 7\n")
    sc.addFile(str(tmp_path / "data.txt"))
    sc.addPyFile(str(tmp_path / "helper_module_of_test.py"))
    import helper_module_of_test

    assert open(SparkFiles.get("data.txt")).read() == "42"
    assert helper_module_of_test.VALUE == 7
    with pytest.raises(FileNotFoundError):
        sc.addFile(str(tmp_path / "absent"))
    with pytest.raises(PySparkException, match="directory"):
        sc.addFile(str(tmp_path))


@pytest.mark.parametrize("master", ["local[2]", "local-cluster[1,1,512]"])
def test_archives_are_unpacked_under_their_name(fake_binary, monkeypatch, tmp_path, master):
    import shutil

    from pyspark import SparkFiles

    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "inner.txt").write_text("inside")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "content")
    with SparkContext(master, "x") as sc:
        sc.addArchive(archive)
        sc.addArchive(f"{archive}#alias")
        for name in ("packed.zip", "alias"):
            with open(os.path.join(SparkFiles.get(name), "inner.txt")) as file:
                assert file.read() == "inside"
        assert len(sc.listArchives) == 2
        if master.startswith("local-cluster"):
            assert os.path.isfile(os.path.join(sc._local_dir, "files", "alias"))
        with pytest.raises(PySparkException, match="neither a zip"):
            sc.addArchive(str(tmp_path / "content" / "inner.txt"))


def test_modules_of_the_application_reach_workers(sc, tmp_path, monkeypatch):
    package = tmp_path / "app_package_of_test" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "app_package_of_test" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "maths.py").write_text(
        "def double(x):\n    from app_package_of_test.inner import late\n    return late.FACTOR * x\n"
    )
    (package / "late.py").write_text("FACTOR = 2\n")
    (tmp_path / "app_module_of_test.py").write_text("class Point:\n    def __init__(self, x):\n        self.x = x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from app_package_of_test.inner import maths

    assert sc.parallelize([1, 2], 2).map(maths.double).collect() == [2, 4]
    import app_module_of_test

    points = sc.parallelize([3, 4], 2).map(app_module_of_test.Point).collect()
    assert [type(p) for p in points] == [app_module_of_test.Point] * 2
    assert sc.listFiles == []
    names = [name for name in sc._shared_files.python_includes if name.startswith("app-modules-")]
    assert len(names) == 1
    import zipfile

    content = zipfile.ZipFile(os.path.join(sc._local_dir, "files", names[0])).namelist()
    assert "app_package_of_test/inner/late.py" in content
    assert not any(name.startswith(("pyspark/", "numpy/", "json/", "pytest/")) for name in content)


def test_portable_hash_needs_a_fixed_seed(monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    with pytest.raises(PySparkException, match="PYTHONHASHSEED"):
        portable_hash("x")


def test_deep_lineage_does_not_overflow_the_stack(sc):
    rdd = sc.parallelize(range(4), 2)
    for _ in range(1200):
        rdd = rdd.map(lambda x: x + 1)
    assert rdd.collect() == [1200, 1201, 1202, 1203]


def test_flags_of_notebooks_are_settings(fake_binary, monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[5] --conf 'spark.x=a b' pyspark-shell")
    with SparkContext() as sc:
        assert (sc.master, sc.getConf().get("spark.x"), sc.appName) == ("local[5]", "a b", "pyspark-shell")
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--nonsense 1 pyspark-shell")
    with pytest.raises(PySparkException, match="--nonsense"):
        SparkContext()


def test_inheritable_threads_take_job_properties_along(sc):
    from pyspark import InheritableThread, inheritable_thread_target

    seen = []

    def look():
        seen.append((sc.getLocalProperty("spark.jobGroup.id"), sc.getJobTags()))

    sc.setJobGroup("parent", "text")
    sc.addJobTag("tag")
    wrapped = inheritable_thread_target(look)
    sc.setJobGroup("later", "text")
    thread = InheritableThread(target=look)
    thread.start()
    thread.join()
    wrapped()
    assert seen == [("later", {"tag"}), ("parent", {"tag"})]


def test_broadcast_of_a_udf_is_found_on_this_machine(sc):
    import pickle

    from pyspark.core import broadcast

    pickled = pickle.dumps(sc.broadcast([1, 2]))
    assert 0 not in broadcast._broadcastRegistry
    assert pickle.loads(pickled).value == [1, 2]
    broadcast._broadcastRegistry.clear()


def test_chosen_interpreters_have_no_substitute(fake_binary, monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    for chosen, required in (("", False), ("/nowhere/python3", True)):
        if chosen:
            monkeypatch.setenv("PYSPARK_PYTHON", chosen)
        with SparkContext("local", "x") as sc:
            function = sc._core.messages.PythonFunction()
            sc._fill_environment(function)
            assert function.python_exec_required is required
            assert function.python_exec == (chosen or sc.pythonExec)


def test_an_empty_master_is_refused(fake_binary, monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    with pytest.raises(PySparkException, match="A master URL must be set in your configuration"):
        SparkContext(conf=SparkConf().setMaster(""))
