"""Jobs: groups, properties, threads, cancellation, and tasks that ask about themselves."""

from __future__ import annotations

import threading
import time

from corpus import case, condition, failure


def in_thread(function):
    """Run a function in a thread of its own and return what it gives."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@case
def local_properties(sc):
    sc.setLocalProperty("cases.colour", "red")
    found = [sc.getLocalProperty("cases.colour"), sc.getLocalProperty("cases.nothing")]
    sc.setLocalProperty("cases.colour", None)
    return [*found, sc.getLocalProperty("cases.colour")]


@case
def local_properties_in_tasks(sc):
    from pyspark import TaskContext

    sc.setLocalProperty("cases.colour", "blue")
    rdd = sc.parallelize([1, 2], 2).map(
        lambda x: (
            x,
            TaskContext.get().getLocalProperty("cases.colour"),
            TaskContext.get().getLocalProperty("cases.none"),
        )
    )
    found = [rdd.collect()]
    sc.setLocalProperty("cases.colour", "green")
    found.append(rdd.collect())
    sc.setLocalProperty("cases.colour", None)
    return [*found, rdd.collect()]


@case
def job_groups(sc):
    sc.setJobGroup("cases-group", "what they are for")
    names = ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel")
    found = [sc.getLocalProperty(name) for name in names]
    sc.parallelize([1]).count()
    ids = sc.statusTracker().getJobIdsForGroup("cases-group")
    sc.setJobDescription("another")
    found += [sc.getLocalProperty(name) for name in names]
    for name in names:
        sc.setLocalProperty(name, None)
    return [*found, len(ids), len(sc.statusTracker().getJobIdsForGroup("no-such-group"))]


@case
def job_tags(sc):
    sc.addJobTag("one")
    sc.addJobTag("two")
    found = [sorted(sc.getJobTags())]
    sc.removeJobTag("one")
    found.append(sorted(sc.getJobTags()))
    sc.clearJobTags()
    return [
        *found,
        sc.getJobTags(),
        condition(lambda: sc.addJobTag(""))[2][-40:],
        condition(lambda: sc.addJobTag("a,b"))[2][-40:],
    ]


@case
def fields_of_task_contexts(sc):
    from pyspark import TaskContext

    def fields(it):
        context = TaskContext.get()
        return [
            (
                context.partitionId(),
                context.attemptNumber(),
                type(context.stageId()).__name__,
                type(context.taskAttemptId()).__name__,
                context.cpus(),
                context.resources(),
                len(list(it)),
            )
        ]

    return [sc.parallelize(range(5), 3).mapPartitions(fields).collect(), TaskContext.get()]


@case
def task_contexts_after_shuffles(sc):
    from pyspark import TaskContext

    rdd = sc.parallelize([(i, i) for i in range(6)], 2).partitionBy(3)
    return [
        rdd.mapPartitions(lambda it: [TaskContext.get().partitionId()]).collect(),
        rdd.union(rdd).mapPartitions(lambda it: [TaskContext.get().partitionId()]).collect(),
        sc.runJob(rdd, lambda it: [TaskContext.get().partitionId()], [2]),
    ]


@case
def attempts_are_distinct(sc):
    from pyspark import TaskContext

    ids = sc.parallelize(range(6), 6).map(lambda x: TaskContext.get().taskAttemptId()).collect()
    return len(set(ids))


@case
def jobs_of_several_threads(sc):
    results = {}

    def run(n):
        results[n] = (
            sc.parallelize(range(n * 10), 3).map(lambda x: (x % n, x)).reduceByKey(lambda a, b: a + b).values().sum()
        )

    threads = [threading.Thread(target=run, args=(n,)) for n in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(results.items())


@case
def properties_of_threads(sc):
    from pyspark import InheritableThread

    sc.setLocalProperty("cases.owner", "main")
    found = {}

    def note():
        found["child"] = sc.getLocalProperty("cases.owner")
        sc.setLocalProperty("cases.owner", "child")

    child = InheritableThread(target=note)
    child.start()
    child.join()
    results = [
        found["child"],
        sc.getLocalProperty("cases.owner"),
        in_thread(lambda: sc.getLocalProperty("cases.owner")),
    ]
    sc.setLocalProperty("cases.owner", None)
    return results


@case
def cancelled_groups(sc):
    outcome, started = [], threading.Event()

    def run():
        sc.setJobGroup("cases-slow", "sleeps")
        started.set()
        try:
            sc.parallelize(range(2), 2).map(lambda x: time.sleep(30)).collect()
            outcome.append("finished")
        except Exception as error:
            outcome.append(
                "cancelled" if "cancelled part of cancelled job group cases-slow" in str(error) else str(error)[:300]
            )

    thread = threading.Thread(target=run)
    begin = time.monotonic()
    thread.start()
    started.wait()
    while thread.is_alive() and time.monotonic() - begin < 20:
        if sc.statusTracker().getJobIdsForGroup("cases-slow"):
            sc.cancelJobGroup("cases-slow")
        thread.join(0.1)
    return [outcome, time.monotonic() - begin < 20, sc.parallelize([1, 2]).sum()]


@case
def cancelled_everything(sc):
    outcome = []

    def run():
        try:
            sc.parallelize(range(2), 2).map(lambda x: time.sleep(30)).collect()
            outcome.append("finished")
        except Exception as error:
            outcome.append(
                "cancelled" if "cancelled as part of cancellation of all jobs" in str(error) else str(error)[:300]
            )

    thread = threading.Thread(target=run)
    thread.start()
    begin = time.monotonic()
    while thread.is_alive() and time.monotonic() - begin < 20:
        time.sleep(0.1)
        if sc.statusTracker().getActiveJobsIds():
            sc.cancelAllJobs()
    thread.join(1)
    return [outcome, sc.parallelize([1, 2]).sum()]


@case
def cancelling_nothing(sc):
    return [sc.cancelJobGroup("nobody"), sc.cancelAllJobs(), sc.cancelJobsWithTag("none"), sc.range(3).count()]


@case
def finished_jobs_in_the_tracker(sc):
    sc.setJobGroup("cases-tracked", "t")
    sc.parallelize(range(4), 2).map(lambda x: (x, 1)).reduceByKey(lambda a, b: a + b).count()
    tracker = sc.statusTracker()
    ids = tracker.getJobIdsForGroup("cases-tracked")
    info = tracker.getJobInfo(ids[0])
    for name in ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel"):
        sc.setLocalProperty(name, None)
    return [
        len(ids),
        info.status,
        len(info.stageIds),
        list(tracker.getActiveJobsIds()),
        tracker.getJobInfo(10**6),
        tracker.getStageInfo(10**6),
    ]


@case
def contexts(sc):
    from pyspark import SparkConf, SparkContext

    conf = sc.getConf()
    return [
        SparkContext.getOrCreate() is sc,
        sc.appName,
        sc.version,
        sc.defaultParallelism,
        sc.pythonVer.count("."),
        failure(lambda: SparkContext("local[1]", "second"))[:79],
        conf.get("spark.app.name"),
        conf.get("spark.no.such", "default"),
        conf.contains("spark.master"),
        SparkContext.getOrCreate(SparkConf().setAppName("x")).appName,
        sc.startTime > 0,
        sc.sparkUser() != "",
    ]


@case
def log_levels(sc):
    return [sc.setLogLevel("OFF"), sc.setLogLevel("off"), condition(lambda: sc.setLogLevel("LOUD"))[0]]
