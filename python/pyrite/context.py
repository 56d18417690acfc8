"""SparkContext: the application's hold on its driver."""

import atexit
import base64
import itertools
import os
import sys
import time
import uuid
import warnings
from contextlib import contextmanager
from threading import RLock
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ClassVar,
    Dict,
    Iterable,
    Iterator,
    List,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Type,
    TypeVar,
)

from pyspark import accumulators
from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.conf import SparkConf
from pyspark.errors import PySparkRuntimeError
from pyspark.profiler import BasicProfiler, MemoryProfiler, Profiler, ProfilerCollector, UDFBasicProfiler
from pyspark.serializers import (
    AutoBatchedSerializer,
    BatchedSerializer,
    CPickleSerializer,
    Serializer,
)
from pyspark.taskcontext import TaskContext

from pyrite import interrupts
from pyrite.broadcast import Broadcast, BroadcastPickleRegistry
from pyrite.callsite import CallSite, user_call_site
from pyrite.cleaning import DroppedExchanges
from pyrite.errors import NoJvm, driver_error, not_supported
from pyrite.files import SharedFiles, SparkFiles
from pyrite.hadoop.output import local_path
from pyrite.jobs import JobRunner
from pyrite.properties import ThreadProperties, check_tag
from pyrite.rdd import RDD
from pyrite.sources import Sources
from pyrite.status import StatusTracker

if TYPE_CHECKING:
    from pyrite.rdd.base import RDDCore

__all__ = ["SparkContext"]

T = TypeVar("T")
U = TypeVar("U")

SPARK_VERSION = "4.2.0"
_LOG_LEVELS = {"ALL", "DEBUG", "ERROR", "FATAL", "INFO", "OFF", "TRACE", "WARN"}
_STOP_SECONDS = 10.0


class SparkContext(Sources):
    """Main entry point: a connection to this application's driver.

    Only one may be active in a process; :meth:`stop` it before creating another.

    Parameters
    ----------
    master
        Master URL: ``local``, ``local[N]``, ``local[*]``, ``local-cluster[W,C,M]`` or
        ``spark://host:port``.
    appName
        Name of the application, for logs and the UI.
    sparkHome
        Where Spark is on the workers; kept for compatibility.
    pyFiles
        Python files and packages to send to the workers.
    environment
        Environment variables of the Python workers.
    batchSize
        Elements in one serialised batch; 0 chooses by their size.
    serializer
        Serialiser of RDDs.
    conf
        Settings.
    gateway, jsc
        Connections to a JVM; must be None here.
    profiler_cls
        What profiles Python workers under ``spark.python.profile``.
    udf_profiler_cls, memory_profiler_cls
        Kept for compatibility: functions of DataFrames have profilers of the session's.

    Raises
    ------
    ValueError
        If another context is active.
    PySparkException
        If the driver cannot start; says why.
    """

    _gateway = NoJvm("Use the Python API.")
    _jvm = NoJvm("Use the Python API.")
    _jsc = NoJvm("Use the methods of SparkContext.")
    _next_accum_id: ClassVar[int] = 0
    _active_spark_context: ClassVar[Optional["SparkContext"]] = None
    profiler_collector: Optional[ProfilerCollector]
    _lock = RLock()
    # Called while the driver starts; set under the lock by whoever creates the context.
    _while_starting: ClassVar[Optional[Callable[[], None]]] = None
    PACKAGE_EXTENSIONS: Iterable[str] = (".zip", ".egg", ".jar")

    def __init__(
        self,
        master: Optional[str] = None,
        appName: Optional[str] = None,
        sparkHome: Optional[str] = None,
        pyFiles: Optional[List[str]] = None,
        environment: Optional[Dict[str, Any]] = None,
        batchSize: int = 0,
        serializer: Serializer = CPickleSerializer(),
        conf: Optional[SparkConf] = None,
        gateway: Optional[Any] = None,
        jsc: Optional[Any] = None,
        profiler_cls: Type[Profiler] = BasicProfiler,
        udf_profiler_cls: Type[Profiler] = UDFBasicProfiler,
        memory_profiler_cls: Type[Profiler] = MemoryProfiler,
    ):
        self._assert_on_driver()
        if gateway is not None or jsc is not None:
            raise not_supported("SparkContext(gateway=..., jsc=...): there is no JVM")
        self._callsite: CallSite = user_call_site()
        self._stopped = True
        with SparkContext._lock:
            self._claim()
            try:
                self._start(_settings(conf, master, appName, sparkHome, environment), batchSize, serializer)
            except BaseException:
                SparkContext._active_spark_context = None
                if hasattr(self, "_driver"):
                    # The traceback would keep it running.
                    self._driver.drop_lifeline()
                raise
        if self._conf.get("spark.python.profile", "false") == "true":
            dump_path: Any = self._conf.get("spark.python.profile.dump")
            self.profiler_collector = ProfilerCollector(profiler_cls, udf_profiler_cls, memory_profiler_cls, dump_path)
        for path in pyFiles or []:
            self.addPyFile(path)

    def _claim(self) -> None:
        """Become the active context."""
        active = SparkContext._active_spark_context
        if active is not None:
            site = active._callsite
            raise ValueError(
                "Cannot run multiple SparkContexts at once; existing "
                f"SparkContext(app={active.appName}, master={active.master}) "
                f"created by {site.function} at {site.file}:{site.linenum} "
            )
        SparkContext._active_spark_context = self

    def _start(self, settings: Dict[str, str], batchSize: int, serializer: Serializer) -> None:
        from pyrite.launcher import DriverProcess

        self._driver: DriverProcess = DriverProcess(settings)
        # Imports take a while; the driver starts meanwhile.
        from pyrite.rpc import CoreClient

        if SparkContext._while_starting is not None:
            SparkContext._while_starting()
        answer = self._driver.handshake()
        self._core: CoreClient = CoreClient(
            int(answer["port"]),
            answer["token"],
            base64.b64decode(answer["descriptor_set"]),
            self._driver,
        )
        self._port = int(answer["port"])
        self._token: str = answer["token"]
        self._conf = SparkConf(loadDefaults=False)
        self._conf.setAll([(key, str(value)) for key, value in answer["conf"].items()])
        self._app_id: str = answer["app_id"]
        self._local_dir: str = answer["local_dir"]
        self._web_url: Optional[str] = answer.get("web_url") or None
        self._default_parallelism = int(answer["default_parallelism"])
        self._start_time_millis = int(time.time() * 1000)
        self.master: str = answer.get("master") or self._conf.get("spark.master", "")
        self.appName: str = self._conf.get("spark.app.name", "pyspark-shell")
        self.sparkHome: Optional[str] = self._conf.get("spark.home")
        self.pythonVer = "%d.%d" % sys.version_info[:2]
        chosen = self._conf.get("spark.pyspark.python") or os.environ.get("PYSPARK_PYTHON")
        self.pythonExec: str = chosen or sys.executable
        self._python_is_chosen = bool(chosen)
        self.profiler_collector = None
        self._batchSize = batchSize
        self._unbatched_serializer = serializer
        self.serializer = (
            AutoBatchedSerializer(serializer) if batchSize == 0 else BatchedSerializer(serializer, batchSize)
        )
        self._rdd_ids = itertools.count()
        self._hidden_rdd_ids = itertools.count(1 << 40)
        self._broadcast_ids = itertools.count()
        self._pickled_broadcast_vars = BroadcastPickleRegistry()
        self._properties = ThreadProperties()
        self._dropped_exchanges = DroppedExchanges()
        self._jobs = JobRunner(self)
        self._on_stop: List[Callable[[], None]] = []
        self._owner_pid = os.getpid()
        self._stopped = False
        interrupts.take_over()
        self.environment = _worker_environment(self._conf)
        self._checkpoint_directory: Optional[str] = None
        if self._conf.contains("spark.checkpoint.dir"):
            self.setCheckpointDir(self._conf.get("spark.checkpoint.dir", ""))
        self._share_files()
        atexit.register(self._stop_at_exit)

    def _share_files(self) -> None:
        shared = self._directory("files")
        root = shared if self._runs_tasks_itself else os.path.join(self._local_dir, "userfiles")
        ships_modules = self._conf.get("spark.pyrite.shipModules", "true").lower() == "true"
        self._shared_files = SharedFiles(shared, root, ships_modules)
        SparkFiles._sc = self
        sys.path.insert(1, root)
        # What spark-submit was given with --py-files, --files and --archives.
        for path in _listed(self._conf, "spark.submit.pyFiles"):
            self.addPyFile(path)
        for path in _listed(self._conf, "spark.files"):
            self.addFile(path)
        for path in _listed(self._conf, "spark.archives"):
            self.addArchive(path)

    @property
    def _runs_tasks_itself(self) -> bool:
        """Whether tasks run in workers of the driver, on this machine."""
        return self.master.startswith("local") and not self.master.startswith("local-cluster")

    def _directory(self, name: str) -> str:
        directory = os.path.join(self._local_dir, name)
        os.makedirs(directory, exist_ok=True)
        return directory

    def _context(self) -> "SparkContext":
        return self

    def _assert_running(self) -> None:
        if self._stopped:
            raise driver_error("Cannot call methods on a stopped SparkContext.")

    def __repr__(self) -> str:
        return f"<SparkContext master={self.master} appName={self.appName}>"

    def _repr_html_(self) -> str:
        from html import escape

        return (
            f'<div><p><b>SparkContext</b></p><p><a href="{escape(self.uiWebUrl or "")}">Pyrite UI'
            f"</a></p><dl><dt>Version</dt><dd><code>v{self.version}</code></dd><dt>Master</dt>"
            f"<dd><code>{escape(self.master)}</code></dd><dt>AppName</dt>"
            f"<dd><code>{escape(self.appName)}</code></dd></dl></div>"
        )

    def __getnewargs__(self) -> NoReturn:
        raise PySparkRuntimeError(errorClass="CONTEXT_ONLY_VALID_ON_DRIVER", messageParameters={})

    def __reduce__(self) -> NoReturn:
        self.__getnewargs__()

    def __enter__(self) -> "SparkContext":
        return self

    def __exit__(
        self,
        type: Optional[Type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.stop()

    @classmethod
    def getOrCreate(cls, conf: Optional[SparkConf] = None) -> "SparkContext":
        """Return the active context, or a new one with these settings."""
        with SparkContext._lock:
            if SparkContext._active_spark_context is None:
                SparkContext(conf=conf or SparkConf())
            active = SparkContext._active_spark_context
            assert active is not None
            return active

    @staticmethod
    def _assert_on_driver() -> None:
        if TaskContext.get() is not None:
            raise PySparkRuntimeError(errorClass="CONTEXT_ONLY_VALID_ON_DRIVER", messageParameters={})

    @classmethod
    def setSystemProperty(cls, key: str, value: str) -> None:
        """Set a Java system property (there is no JVM; not supported)."""
        raise not_supported("SparkContext.setSystemProperty: there is no JVM; use SparkConf")

    @classmethod
    def getSystemProperty(cls, key: str) -> str:
        """Return a Java system property (there is no JVM; not supported)."""
        raise not_supported("SparkContext.getSystemProperty: there is no JVM; use SparkConf")

    def setLogLevel(self, logLevel: str) -> None:
        """Check a log level's name.

        The driver's level is fixed when it starts (``spark.log.level``), so this changes nothing
        for a running one; programs call it to quieten Spark's console, which is quiet here.
        """
        if logLevel.upper() not in _LOG_LEVELS:
            from pyspark.errors import IllegalArgumentException

            raise IllegalArgumentException(
                f"Supplied level {logLevel} did not match one of: {','.join(sorted(_LOG_LEVELS))}"
            )

    @property
    def version(self) -> str:
        """Version of Spark whose behaviour this is."""
        return SPARK_VERSION

    @property
    def applicationId(self) -> str:
        """Unique id of this application."""
        return self._app_id

    @property
    def uiWebUrl(self) -> Optional[str]:
        """Address of this application's pages, None without any."""
        return self._web_url

    @property
    def startTime(self) -> int:
        """When this context started, in milliseconds since the epoch."""
        return self._start_time_millis

    @property
    def defaultParallelism(self) -> int:
        """Number of partitions of an RDD that does not say how many it wants."""
        self._assert_running()
        if self._conf.contains("spark.default.parallelism"):
            return int(self._conf.get("spark.default.parallelism", "1"))
        return self._default_parallelism

    @property
    def resources(self) -> Dict[str, Any]:
        """Resources of the driver beyond cores and memory; none yet."""
        return {}

    def sparkUser(self) -> str:
        """Return the user that runs this application."""
        import getpass

        return os.environ.get("SPARK_USER") or getpass.getuser()

    def getConf(self) -> SparkConf:
        """Return a copy of the settings in effect."""
        conf = SparkConf(loadDefaults=False)
        conf.setAll(self._conf.getAll())
        return conf

    def stop(self) -> None:
        """Stop this application's driver, and with it everything that it started."""
        with SparkContext._lock:
            if SparkContext._active_spark_context is self:
                SparkContext._active_spark_context = None
            if self._stopped:
                return
            self._stopped = True
        if self._owner_pid != os.getpid():
            return  # a forked child: the driver belongs to its parent
        atexit.unregister(self._stop_at_exit)
        for callback in self._on_stop:
            callback()
        if SparkFiles._sc is self:
            SparkFiles._sc = None
        if self._shared_files.root in sys.path:
            sys.path.remove(self._shared_files.root)
        try:
            if self._driver.is_alive():
                self._core.stop(self._exit_code, _STOP_SECONDS)
        except PySparkRuntimeError as error:
            if self._driver.is_alive():
                warnings.warn(f"the driver did not stop in order: {error}", RuntimeWarning)
        finally:
            self._core.close()
            self._driver.stop()

    _exit_code = 0

    def _stop_at_exit(self) -> None:
        # Set by the interpreter when an exception ended the program.
        self._exit_code = 1 if hasattr(sys, "last_value") else 0
        self.stop()

    def broadcast(self, value: T) -> "Broadcast[T]":
        """Send a read-only value to every executor once."""
        self._assert_running()
        return Broadcast(self, value, self._pickled_broadcast_vars)

    def accumulator(self, value: T, accum_param: Optional["AccumulatorParam[T]"] = None) -> "Accumulator[T]":
        """Return a variable that tasks can only add to.

        Parameters
        ----------
        value
            Initial value.
        accum_param
            How to add; not needed for `int`, `float` and `complex`.
        """
        param: Any = accum_param
        if param is None:
            if isinstance(value, int):
                param = accumulators.INT_ACCUMULATOR_PARAM
            elif isinstance(value, float):
                param = accumulators.FLOAT_ACCUMULATOR_PARAM
            elif isinstance(value, complex):
                param = accumulators.COMPLEX_ACCUMULATOR_PARAM
            else:
                raise TypeError(f"No default accumulator param for type {type(value)}")
        with SparkContext._lock:
            SparkContext._next_accum_id += 1
            return Accumulator(SparkContext._next_accum_id - 1, value, param)

    def addFile(self, path: str, recursive: bool = False) -> None:
        """Send a file to every worker; :class:`SparkFiles` finds it there."""
        self._shared_files.add(path, recursive=recursive)

    def addPyFile(self, path: str) -> None:
        """Send a module (``.py``) or package (``.zip``, ``.egg``) to every worker's import path."""
        self._shared_files.add_python(path)

    def addArchive(self, path: str) -> None:
        """Send an archive to every worker, where it is unpacked; ``#name`` chooses the name."""
        self._shared_files.add(path, archive=True)

    @property
    def listFiles(self) -> List[str]:
        """Paths of the added files."""
        return [e.source for e in self._shared_files.added() if not e.archive]

    @property
    def listArchives(self) -> List[str]:
        """Paths of the added archives."""
        return [e.source for e in self._shared_files.added() if e.archive]

    def setCheckpointDir(self, dirName: str) -> None:
        """Set the directory of checkpoints; this application's are in one of their own below it.

        Parameters
        ----------
        dirName
            A path that application and workers share.
        """
        directory = os.path.join(local_path(dirName), str(uuid.uuid4()))
        os.makedirs(directory)
        self._checkpoint_directory = directory

    def getCheckpointDir(self) -> Optional[str]:
        """Return the directory of checkpoints, None without one."""
        return None if self._checkpoint_directory is None else f"file:{self._checkpoint_directory}"

    def setJobGroup(self, groupId: str, description: str, interruptOnCancel: bool = False) -> None:
        """Name the group of all jobs that this thread starts from now on."""
        self._properties.set_group(groupId, description, interruptOnCancel)

    def setInterruptOnCancel(self, interruptOnCancel: bool) -> None:
        """Say whether cancelling this thread's jobs interrupts their tasks."""
        self._properties.set_interrupt(interruptOnCancel)

    def setJobDescription(self, value: str) -> None:
        """Describe the jobs that this thread starts from now on."""
        self._properties.set_description(value)

    def setLocalProperty(self, key: str, value: str) -> None:
        """Set a property of the jobs that this thread starts from now on; None removes it."""
        self._properties.set(key, value)

    def getLocalProperty(self, key: str) -> Optional[str]:
        """Return a property of this thread's jobs."""
        return self._properties.get(key)

    def addJobTag(self, tag: str) -> None:
        """Tag all jobs that this thread starts from now on."""
        self._properties.tags.add(check_tag(tag))

    def removeJobTag(self, tag: str) -> None:
        """Remove a tag."""
        self._properties.tags.discard(check_tag(tag))

    def getJobTags(self) -> Set[str]:
        """Return the tags of this thread's jobs."""
        return set(self._properties.tags)

    def clearJobTags(self) -> None:
        """Remove all tags."""
        self._properties.tags.clear()

    def cancelJobGroup(self, groupId: str) -> None:
        """Cancel the active jobs of a group."""
        self._core.cancel_jobs(job_group=groupId, reason=f"part of cancelled job group {groupId}")

    def cancelJobsWithTag(self, tag: str) -> None:
        """Cancel the active jobs that have a tag."""
        self._core.cancel_jobs(tag=check_tag(tag), reason=f"part of cancelled job tag {tag}")

    def cancelAllJobs(self) -> None:
        """Cancel all active jobs."""
        self._core.cancel_jobs(all=True, reason="as part of cancellation of all jobs")

    def statusTracker(self) -> StatusTracker:
        """Return a :class:`StatusTracker`."""
        return StatusTracker(self)

    def show_profiles(self) -> None:
        """Print the profiles of Python workers, gathered under ``spark.python.profile``."""
        self._profiles().show_profiles()

    def dump_profiles(self, path: str) -> None:
        """Write the profiles of Python workers to files in a directory."""
        self._profiles().dump_profiles(path)

    def _profiles(self) -> ProfilerCollector:
        if self.profiler_collector is None:
            raise PySparkRuntimeError(errorClass="INCORRECT_CONF_FOR_PROFILE", messageParameters={})
        return self.profiler_collector

    def runJob(
        self,
        rdd: "RDD[T]",
        partitionFunc: Callable[[Iterable[T]], Iterable[U]],
        partitions: Optional[Sequence[int]] = None,
        allowLocal: bool = False,
    ) -> List[U]:
        """Run a function over some partitions and return all results in one list.

        Parameters
        ----------
        rdd
            The RDD.
        partitionFunc
            Function over a partition.
        partitions
            Partitions to run on; all if None.
        allowLocal
            Without effect.
        """
        mapped = rdd.mapPartitions(partitionFunc)
        if partitions is None:
            return self._collect(mapped)
        self._assert_running()
        return self._jobs.collect_partitions(mapped, list(partitions))

    def _collect(self, rdd: "RDDCore[Any]") -> List[Any]:
        self._assert_running()
        return self._jobs.collect(rdd)

    def _iterate_partitions(self, rdd: "RDDCore[Any]", prefetch: bool) -> Iterator[Any]:
        self._assert_running()
        return self._jobs.iterate(rdd, prefetch)

    def _save_text(self, rdd: "RDDCore[Any]", path: str, codec: Optional[str]) -> None:
        self._assert_running()
        sink = self._core.messages.TextFileSink(path=str(path), compression_codec=codec or "")
        for _ in self._jobs.run(self._jobs.request(rdd, sink=sink)):
            raise driver_error("the driver sent back what it should have written")

    def _describe(self, rdd: "RDDCore[Any]") -> int:
        """Ask the driver for the number of partitions of an RDD."""
        from pyrite.graph import build_graph

        self._assert_running()
        request = self._core.messages.DescribeRddRequest()
        build_graph(request.graph, rdd)
        return int(self._core.describe_rdd(request).num_partitions)

    def _unpersist(self, rdd_id: int, blocking: bool) -> None:
        self._assert_running()
        self._core.unpersist_rdd(rdd_id, blocking)

    def _next_rdd_id(self) -> int:
        return next(self._rdd_ids)

    def _next_hidden_rdd_id(self) -> int:
        """Return the number of an RDD that Spark does not have, far from the others."""
        return next(self._hidden_rdd_ids)

    def _next_broadcast_id(self) -> int:
        return next(self._broadcast_ids)

    @contextmanager
    def _collect_broadcasts(self) -> Iterator[Set["Broadcast[Any]"]]:
        """Gather the broadcast variables that are pickled by this thread meanwhile."""
        found: Set[Broadcast[Any]] = set()
        registry = self._pickled_broadcast_vars
        registry.clear()
        registry.collecting = True
        try:
            yield found
        finally:
            registry.collecting = False
            found.update(registry)
            registry.clear()

    def _fill_environment(self, function: Any) -> None:
        """Write what a Python worker needs around it into a ``pyrite.core.PythonFunction``."""
        function.python_version = self.pythonVer
        function.python_exec = self.pythonExec
        if self._python_is_chosen:
            function.python_exec_required = True
        function.env.update(self.environment)
        self._shared_files.fill(function)

    def _current_session(self) -> Optional[Any]:
        """Return the session of this context, None before there is one."""
        from pyrite import hooks

        return hooks.current_session(self)


def _settings(
    conf: Optional[SparkConf],
    master: Optional[str],
    app_name: Optional[str],
    spark_home: Optional[str],
    environment: Optional[Dict[str, Any]],
) -> Dict[str, str]:
    """Return the settings made in code; arguments win over `conf`, as in Spark."""
    settings = {key: str(value) for key, value in (conf.getAll() if conf else ())}
    if master:
        settings["spark.master"] = master
    if settings.get("spark.master") == "":
        raise PySparkRuntimeError(errorClass="MASTER_URL_NOT_SET", messageParameters={})
    if app_name:
        settings["spark.app.name"] = app_name
    if spark_home:
        settings["spark.home"] = spark_home
    for name, value in (environment or {}).items():
        settings[f"spark.executorEnv.{name}"] = str(value)
    return settings


def _worker_environment(conf: SparkConf) -> Dict[str, str]:
    prefix = "spark.executorEnv."
    chosen = {key[len(prefix) :]: value for key, value in conf.getAll() if key.startswith(prefix)}
    # Text has to hash alike on all workers; they take 0 unless told. Naming that default here would
    # ask for other workers than those that are started ahead.
    seed = os.environ.get("PYTHONHASHSEED", "0")
    return chosen if seed == "0" else {**chosen, "PYTHONHASHSEED": seed}


def _listed(conf: SparkConf, key: str) -> List[str]:
    return [item.strip() for item in conf.get(key, "").split(",") if item.strip()]
