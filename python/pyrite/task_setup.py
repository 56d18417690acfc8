"""What a task needs to know of its job before its function runs.

The pickled function of an RDD is made once, and properties belong to a job. So a job's command is a
small pickle around it; reading it in the worker first prepares the task's context.
"""

import pickle
from typing import Any, Dict, Optional

from pyspark import cloudpickle
from pyspark.taskcontext import TaskContext

from pyrite import barrier


def wrap_command(command: bytes, properties: Dict[str, str], meeting: Optional[barrier.Meeting]) -> bytes:
    """Return a command that prepares the task first.

    Parameters
    ----------
    command
        The pickled command.
    properties
        Local properties of the job.
    meeting
        Where the tasks of a barrier stage meet; None for other stages.
    """
    if not properties and meeting is None:
        return command
    return pickle.dumps(_Prepared(command, properties, meeting), pickle.HIGHEST_PROTOCOL)


class _Prepared:
    """Pickles as a call of :func:`_prepare`."""

    def __init__(self, *arguments: Any):
        self._arguments = arguments

    def __reduce__(self) -> Any:
        return _prepare, self._arguments


def _prepare(command: bytes, properties: Dict[str, str], meeting: Optional[barrier.Meeting]) -> Any:
    context = TaskContext.get()
    if context is not None:
        context._localProperties = dict(properties)
    if meeting is not None:
        barrier.join(meeting)
    return cloudpickle.loads(command)
