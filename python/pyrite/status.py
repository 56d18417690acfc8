"""What an application can ask about its jobs."""

from typing import TYPE_CHECKING, List, NamedTuple, Optional

from pyrite.errors import not_supported

if TYPE_CHECKING:
    from pyrite.context import SparkContext

__all__ = ["SparkExecutorInfo", "SparkJobInfo", "SparkStageInfo", "StatusTracker"]


class SparkJobInfo(NamedTuple):
    """Information about a job."""

    jobId: int
    stageIds: List[int]
    status: str


class SparkStageInfo(NamedTuple):
    """Information about a stage."""

    stageId: int
    currentAttemptId: int
    name: str
    numTasks: int
    numActiveTasks: int
    numCompletedTasks: int
    numFailedTasks: int


class SparkExecutorInfo(NamedTuple):
    """Information about an executor."""

    host: str
    port: int
    cacheSize: int
    numRunningTasks: int
    usedOnHeapStorageMemory: int
    usedOffHeapStorageMemory: int
    totalOnHeapStorageMemory: int
    totalOffHeapStorageMemory: int


class StatusTracker:
    """Reports the progress of jobs."""

    def __init__(self, sc: "SparkContext"):
        self._sc = sc

    def getActiveJobsIds(self) -> List[int]:
        """Return the ids of all active jobs."""
        return sorted(self._sc._core.status().active_job_ids)

    def getJobIdsForGroup(self, jobGroup: Optional[str] = None) -> List[int]:
        """Return the ids of the jobs of a group (not supported yet)."""
        raise not_supported("StatusTracker.getJobIdsForGroup")

    def getActiveStageIds(self) -> List[int]:
        """Return the ids of all active stages (not supported yet)."""
        raise not_supported("StatusTracker.getActiveStageIds")

    def getJobInfo(self, jobId: int) -> Optional[SparkJobInfo]:
        """Return what is known of an active job, None for any other."""
        if jobId in self.getActiveJobsIds():
            return SparkJobInfo(jobId, [], "RUNNING")
        return None

    def getStageInfo(self, stageId: int) -> Optional[SparkStageInfo]:
        """Return what is known of a stage (not supported yet)."""
        raise not_supported("StatusTracker.getStageInfo")

    def getExecutorInfos(self) -> List[SparkExecutorInfo]:
        """Return the registered executors; memory and task counts are not reported yet."""
        return [
            SparkExecutorInfo(executor.host, 0, 0, 0, 0, 0, 0, 0)
            for executor in self._sc._core.status().executors
            if executor.registered
        ]
