"""Every place where ``pyspark-client`` has to learn of the driver behind it.

``pyspark/core/__init__.py`` calls :func:`install` when ``import pyspark`` begins. Nothing heavy is
imported then: each hook waits until PySpark itself imports the module that it belongs to.
"""

import base64
import importlib.machinery
import os
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence, Tuple

from pyrite import interrupts
from pyrite.markers import is_python_worker, set_marker

if TYPE_CHECKING:
    from pyrite.context import SparkContext

Patch = Callable[[Any], None]


def install() -> None:
    """Prepare this process for applications; Python workers only get a Spark home."""
    if any(isinstance(finder, _PatchingFinder) for finder in sys.meta_path):
        return
    # Importing `pyspark.sql.connect` ends the process when it finds no Spark home.
    set_marker("SPARK_HOME", os.path.join(os.path.dirname(os.path.abspath(__file__)), "home"))
    if is_python_worker():
        return
    interrupts.install()
    # Makes `SparkSession.builder` and the functions module take the Connect implementations.
    set_marker("SPARK_CONNECT_MODE", "1")
    set_marker("SPARK_CONNECT_MODE_ENABLED", "1")
    sys.meta_path.insert(0, _PatchingFinder(_PATCHES))
    _patch_threads(sys.modules["pyspark.util"])


class _PatchingFinder(MetaPathFinder):
    """Finds modules as usual and lets a patch run right after such a module has executed."""

    def __init__(self, patches: Dict[str, Patch]):
        self._patches = patches

    def find_spec(
        self,
        fullname: str,
        path: Optional[Sequence[str]],
        target: Optional[ModuleType] = None,
    ) -> Optional[importlib.machinery.ModuleSpec]:
        patch = self._patches.get(fullname)
        if patch is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            patch(module)

        loader.exec_module = execute_and_patch
        return spec


def current_session(context: "SparkContext") -> Optional[Any]:
    """Return the live session of a context, None before there is one."""
    session = getattr(context, "_session", None)
    return None if session is None or session.is_stopped else session


def _wants_remote(options: Dict[str, Any]) -> bool:
    """Tell whether the user asked for a Spark Connect server of their own."""
    url = str(options.get("spark.remote", os.environ.get("SPARK_REMOTE", "")))
    return url.startswith("sc://")


def _context_for(options: Dict[str, Any]) -> Tuple["SparkContext", bool]:
    """Return the active context, or a new one with a builder's options, and whether it is new."""
    from pyspark.conf import SparkConf

    from pyrite.context import SparkContext

    with SparkContext._lock:
        if SparkContext._active_spark_context is not None:
            return SparkContext._active_spark_context, False
        conf = SparkConf()
        for key, value in options.items():
            if key not in ("spark.remote", "spark.api.mode"):
                conf.set(key, str(value))
        SparkContext._while_starting = _import_sessions
        try:
            return SparkContext(conf=conf), True
        finally:
            SparkContext._while_starting = None


def _import_sessions() -> None:
    # Half a second with pandas and pyarrow, in which the driver and its workers start.
    from pyrite import session  # noqa: F401


def _patch_sql_session(module: Any) -> None:
    session_class = module.SparkSession
    builder = session_class.Builder
    original_get, original_create = builder.getOrCreate, builder.create

    # Connect would refuse a session beside a SparkContext, or start a JVM for one.
    def get_or_create(self: Any) -> Any:
        if _wants_remote(self._options):
            return original_get(self)
        context, is_new = _context_for(self._options)
        from pyrite import session

        # A new driver has the options from its start.
        return session.attach(context, {} if is_new else dict(self._options))

    def create(self: Any) -> Any:
        if _wants_remote(self._options):
            return original_create(self)
        context, is_new = _context_for(self._options)
        from pyrite import session

        return session.create(context, {} if is_new else dict(self._options))

    # `SparkSession(sc)` is how applications have joined a session to their context since 2.0.
    def new(cls: Any, sparkContext: Any = None, *args: Any, **kwargs: Any) -> Any:
        from pyrite.context import SparkContext

        if not isinstance(sparkContext, SparkContext):
            return object.__new__(cls)
        from pyrite import session

        options = kwargs.get("options", args[1] if len(args) > 1 else {})
        return session.attach(sparkContext, dict(options))

    builder.getOrCreate = get_or_create
    builder.create = create
    session_class.__new__ = staticmethod(new)


def _patch_connect_session(module: Any) -> None:
    session_class = module.SparkSession
    original_stop, original_create = session_class.stop, session_class.createDataFrame

    # Connect has no context; the driver serves both.
    def spark_context(self: Any) -> Any:
        context = getattr_static(self, "_pyrite_context")
        if context is None:
            return self.__getattr__("sparkContext")
        return context

    # On Spark, stopping the session stops the application.
    def stop(self: Any) -> None:
        context = getattr_static(self, "_pyrite_context")
        if context is None:
            original_stop(self)
        else:
            context.stop()

    # Connect knows the method only from the JVM's session.
    def new_session(self: Any) -> Any:
        from pyrite import session

        return session.open_session(self.sparkContext)

    # Connect takes no RDD, and warns of arguments that every older program passes.
    def create_data_frame(
        self: Any,
        data: Any,
        schema: Any = None,
        samplingRatio: Optional[float] = None,
        verifySchema: bool = True,
    ) -> Any:
        from pyrite.rdd import RDD

        if isinstance(data, RDD):
            from pyrite import dataframes

            return dataframes.from_rdd(self, data, schema, samplingRatio, verifySchema)
        return original_create(self, data, schema)

    create_data_frame.__doc__ = original_create.__doc__
    session_class._pyrite_context = None
    session_class.sparkContext = property(spark_context)
    session_class._sc = property(spark_context)
    session_class.newSession = new_session
    session_class.createDataFrame = create_data_frame
    session_class.stop = stop


def getattr_static(instance: Any, name: str) -> Any:
    """Return an attribute of an instance or its class, without the class's ``__getattr__``."""
    return instance.__dict__.get(name, getattr(type(instance), name))


def _patch_connect_dataframe(module: Any) -> None:
    # Connect raises for `rdd`.
    def rdd(self: Any) -> Any:
        from pyrite import dataframes

        return dataframes.rows_of(self)

    # On Spark this is an RDD of text; Connect returns a DataFrame.
    def to_json(self: Any, use_unicode: bool = True) -> Any:
        from pyrite import dataframes

        return dataframes.json_of(self, use_unicode)

    module.DataFrame.rdd = property(rdd)
    module.DataFrame.toJSON = to_json


def _patch_connect_reader(module: Any) -> None:
    # Spark reads CSV and JSON from an RDD of text, Connect only from a DataFrame of it.
    def accept_rdd(original: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            from pyrite.rdd import RDD

            if isinstance(path, RDD):
                from pyspark.sql.types import StringType

                path = self._client.createDataFrame(path, StringType())
            return original(self, path, *args, **kwargs)

        read.__doc__ = original.__doc__
        return read

    reader = module.DataFrameReader
    reader.json = accept_rdd(reader.json)
    reader.csv = accept_rdd(reader.csv)


def _patch_sql_context(module: Any) -> None:
    # SQLContext reaches for the JVM's session; most of its methods only need a session.
    def init(self: Any, sparkContext: Any, sparkSession: Any = None, jsqlContext: Any = None) -> None:
        from pyrite import session

        self._sc = sparkContext
        self.sparkSession = sparkSession or session.attach(sparkContext, {})

    module.SQLContext.__init__ = init


def _patch_connect_client(module: Any) -> None:
    # The client reads the accumulator updates of a query and keeps only those of profilers.
    class UpdatingSerializer(type(module.pickleSer)):  # type: ignore[misc]
        def loads(self, obj: bytes, encoding: str = "bytes") -> Any:
            from pyrite.jobs import update_accumulator

            identifier, value = super().loads(obj, encoding)
            update_accumulator(identifier, value)
            return identifier, value

    module.pickleSer = UpdatingSerializer()


def _patch_connect_expressions(module: Any) -> None:
    original = module.PythonUDF.to_plan

    # Connect has no place for a function's broadcasts, files, modules and environment. The driver
    # finds them in a field that the client leaves empty.
    def to_plan(self: Any, session: Any) -> Any:
        context = getattr(session._builder, "context", None)
        if context is None:
            return original(self, session)
        with context._collect_broadcasts() as broadcasts:
            expression = original(self, session)
        function = context._core.messages.PythonFunction()
        function.broadcast_ids.extend(sorted(b._id for b in broadcasts))
        context._fill_environment(function)
        encoded = base64.b64encode(function.SerializeToString()).decode("ascii")
        expression.additional_includes.append(f"pyrite.core.PythonFunction:{encoded}")
        return expression

    module.PythonUDF.to_plan = to_plan


def _patch_threads(module: Any) -> None:
    # Connect's threads insist on a session and know nothing of a context's job properties.
    def init(self: Any, target: Any, *args: Any, session: Any = None, **kwargs: Any) -> None:
        from pyrite import threads

        threads.init_thread(self, target, *args, session=session, **kwargs)

    def start(self: Any) -> None:
        from pyrite import threads

        threads.start_thread(self)

    def inheritable_thread_target(f: Any) -> Any:
        from pyrite import threads

        return threads.inheritable_thread_target(f)

    inheritable_thread_target.__doc__ = module.inheritable_thread_target.__doc__
    module.InheritableThread.__init__ = init
    module.InheritableThread.start = start
    module.inheritable_thread_target = inheritable_thread_target


_PATCHES: Dict[str, Patch] = {
    "pyspark.sql.connect.client.core": _patch_connect_client,
    "pyspark.sql.connect.expressions": _patch_connect_expressions,
    "pyspark.sql.session": _patch_sql_session,
    "pyspark.sql.context": _patch_sql_context,
    "pyspark.sql.connect.session": _patch_connect_session,
    "pyspark.sql.connect.dataframe": _patch_connect_dataframe,
    "pyspark.sql.connect.readwriter": _patch_connect_reader,
}
