"""What an application can ask about its jobs."""

from typing import TYPE_CHECKING, List, NamedTuple, Optional

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
        """Return the ids of the latest jobs over RDDs of a group, or of those without any."""
        return [job.job_id for job in self._sc._jobs.log.all() if job.group == (jobGroup or "")]

    def getActiveStageIds(self) -> List[int]:
        """Return the ids of all active stages; a job has one, with its own number."""
        return self.getActiveJobsIds()

    def getJobInfo(self, jobId: int) -> Optional[SparkJobInfo]:
        """Return what is known of a job, None for one that is unknown or long gone."""
        job = self._sc._jobs.log.get(jobId)
        if job is not None:
            return SparkJobInfo(jobId, [jobId], job.status)
        if jobId in self.getActiveJobsIds():
            return SparkJobInfo(jobId, [jobId], "RUNNING")
        return None

    def getStageInfo(self, stageId: int) -> Optional[SparkStageInfo]:
        """Return what is known of the stage of a job over an RDD, None for any other."""
        job = self._sc._jobs.log.get(stageId)
        if job is None:
            return None
        left = job.tasks - job.completed
        active = min(left, self._sc.defaultParallelism) if job.status == "RUNNING" else 0
        return SparkStageInfo(
            stageId=stageId,
            currentAttemptId=0,
            name=job.name,
            numTasks=job.tasks,
            numActiveTasks=active,
            numCompletedTasks=job.completed,
            numFailedTasks=int(job.status == "FAILED"),
        )

    def getExecutorInfos(self) -> List[SparkExecutorInfo]:
        """Return the registered executors; memory and task counts are not reported yet."""
        return [
            SparkExecutorInfo(executor.host, 0, 0, 0, 0, 0, 0, 0)
            for executor in self._sc._core.status().executors
            if executor.registered
        ]
