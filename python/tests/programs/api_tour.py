"""The less travelled parts of the RDD API; prints the same here as on Apache Spark."""

import os
import shutil
import tempfile
import threading
import time
import warnings

from pyspark import BarrierTaskContext, InheritableThread, SparkConf, SparkContext, StorageLevel, TaskContext

PACKAGE = "org.apache.hadoop."
CODECS = [None, *(f"{PACKAGE}io.compress.{name}" for name in ("DefaultCodec", "GzipCodec", "BZip2Codec"))]
OLD_IN, NEW_IN = PACKAGE + "mapred.", PACKAGE + "mapreduce.lib.input."
OLD_OUT, NEW_OUT = PACKAGE + "mapred.", PACKAGE + "mapreduce.lib.output."
LONG, TEXT, INT = (f"{PACKAGE}io.{name}" for name in ("LongWritable", "Text", "IntWritable"))
COMPRESS = "mapreduce.output.fileoutputformat.compress"


def show(title, value):
    print(f"{title}: {value!r}", flush=True)


def failure(function):
    """Return the last words of what a call raises."""
    try:
        return function()
    except Exception as error:
        text = str(error)
        known = (
            "already exists",
            "Checkpoint directory has not been set in the SparkContext",
            "Data of type java.util.ArrayList cannot be used",
            "empty collection",
            "RDD element of type java.lang.Integer cannot be used",
            "wrong value class: org.apache.hadoop.io.IntWritable is not class org.apache.hadoop.io.Text",
            "[SPARK-24819]: Barrier execution mode does not allow run a barrier stage that requires more slots",
            "[SPARK-24820][SPARK-24821]: Barrier execution mode does not allow the following pattern of RDD chain",
            "NOT_IN_BARRIER_STAGE",
            "ZeroDivisionError",
            "Input path does not exist",
            "not a SequenceFile",
            "No input paths specified in job",
            "relativeSD should be greater than 0.000017",
            "INCORRECT_CONF_FOR_PROFILE",
        )
        return next((words for words in known if words in text), f"unknown words: {text[:2000]}")


def visible(directory):
    return sorted(name for name in os.listdir(directory) if not name.startswith("."))


def sequence_files(sc, base):
    kinds = {
        "ints": [(1, -1), (-(2**31), 2**31 - 1)],
        "longs": [(2**40, -(2**40)), (2**62, 2**33)],
        "doubles": [(1.5, -0.1), (2.0, 1e300)],
        "booleans": [(True, False), (False, True)],
        "bytes": [(b"ab", bytearray(b"\x00\xff")), (b"", b"x" * 300)],
        "nulls": [(None, "x"), (None, "\u00e9\U0001f600")],
        "maps": [("k", {"a": 1, "b": 2.5, "c": None}), ("l", {1: {"n": True}, "z": b"b", "l": 2**40})],
    }
    for name, pairs in kinds.items():
        path = f"{base}/{name}"
        sc.parallelize(pairs, 1).saveAsSequenceFile(path)
        show(name, sc.sequenceFile(path).collect())
    many = [(i, f"value {i} " * 3) for i in range(30_000)]
    for codec in CODECS:
        path = f"{base}/many-{codec}"
        sc.parallelize(many, 2).saveAsSequenceFile(path, codec)
        again = sc.sequenceFile(path, TEXT, TEXT, minSplits=6)
        show(f"many {codec}", (sorted(again.collect()) == many, again.getNumPartitions() >= 2, visible(path)))
    conf = {COMPRESS: "true", COMPRESS + ".codec": CODECS[2], COMPRESS + ".type": "RECORD"}
    sc.parallelize(many[:2000], 2).saveAsHadoopFile(f"{base}/record", OLD_OUT + "SequenceFileOutputFormat", conf=conf)
    show("record", sc.sequenceFile(f"{base}/record", minSplits=5).count() == 2000)
    sc.parallelize(many[:10], 2).saveAsNewAPIHadoopFile(f"{base}/new", NEW_OUT + "SequenceFileOutputFormat", INT, TEXT)
    found = sc.newAPIHadoopFile(f"{base}/new", NEW_IN + "SequenceFileInputFormat", INT, TEXT)
    show("new", (sorted(found.collect()) == many[:10], visible(f"{base}/new")))
    show("exists", failure(lambda: sc.parallelize(many[:2]).saveAsSequenceFile(f"{base}/new")))
    show("list", failure(lambda: sc.parallelize([(1, [2])], 1).saveAsSequenceFile(f"{base}/list")))
    show("empty", failure(lambda: sc.parallelize([], 1).saveAsSequenceFile(f"{base}/empty")))
    show("no pair", failure(lambda: sc.parallelize([1], 1).saveAsSequenceFile(f"{base}/no-pair")))
    show("mixed", failure(lambda: sc.parallelize([(1, "a"), (2, 3)], 1).saveAsSequenceFile(f"{base}/mixed")))
    show("missing", failure(lambda: sc.sequenceFile(f"{base}/missing").collect()))


def pickle_files(sc, base):
    for size in (0, 1, 7):
        path = f"{base}/pickle-{size}"
        data = [(i, {"k": [i, None, 1.5]}) for i in range(3001)]
        sc.parallelize(data, 3).saveAsPickleFile(path, size)
        show(
            f"pickle {size}",
            (sorted(sc.pickleFile(path, 5).collect(), key=lambda pair: pair[0]) == data, visible(path)),
        )
    lines = f"{base}/lines"
    sc.parallelize(["x", "y"], 1).saveAsTextFile(lines)
    sc.textFile(lines).saveAsPickleFile(f"{base}/pickle-text")
    show("pickle text", sc.pickleFile(f"{base}/pickle-text").collect())


def hadoop_formats(sc, base):
    path = f"{base}/lines.txt"
    with open(path, "wb") as file:
        file.write(b"one\ntwo\r\nthree\r\rfive|six|seven\n")
    show("text old", sc.hadoopFile(path, OLD_IN + "TextInputFormat", LONG, TEXT).collect())
    show("text new", sc.newAPIHadoopFile(path, NEW_IN + "TextInputFormat", LONG, TEXT).collect())
    conf = {"textinputformat.record.delimiter": "|"}
    show("delimiter", sc.newAPIHadoopFile(path, NEW_IN + "TextInputFormat", LONG, TEXT, conf=conf).collect())
    conf = {"mapreduce.input.keyvaluelinerecordreader.key.value.separator": "|"}
    show("pairs", sc.newAPIHadoopFile(path, NEW_IN + "KeyValueTextInputFormat", TEXT, TEXT, conf=conf).collect())
    conf = {"mapreduce.input.fileinputformat.inputdir": path}
    show("dataset old", sc.hadoopRDD(OLD_IN + "TextInputFormat", LONG, TEXT, conf=conf).count())
    show("dataset new", sc.newAPIHadoopRDD(NEW_IN + "TextInputFormat", LONG, TEXT, conf=conf).count())
    show("no path", failure(lambda: sc.newAPIHadoopRDD(NEW_IN + "TextInputFormat", LONG, TEXT)))
    show("no sequence file", failure(lambda: sc.sequenceFile(path).collect()))
    pairs = [(1, "a"), (None, 2.5), (1e20, None), (True, b"\x01\xff"), (1e-5, 123456789.125), (None, None)]
    pairs += [(2**40, {"a": 1}), ((1, 2), "t"), (0.1, -1.0), (1e7, 123456.0), (float("nan"), float("-inf"))]
    sc.parallelize(pairs, 1).saveAsHadoopFile(f"{base}/to", OLD_OUT + "TextOutputFormat")
    with open(f"{base}/to/part-00000", encoding="utf-8") as file:
        show("text out", file.read())
    conf = {"mapreduce.output.textoutputformat.separator": "=>"}
    one = sc.parallelize([(1, "a")], 1)
    one.saveAsNewAPIHadoopFile(f"{base}/separated", NEW_OUT + "TextOutputFormat", INT, TEXT, conf=conf)
    with open(f"{base}/separated/part-r-00000", encoding="utf-8") as file:
        show("separator", file.read())
    gzip = CODECS[2]
    one.saveAsHadoopFile(f"{base}/zipped", OLD_OUT + "TextOutputFormat", compressionCodecClass=gzip)
    show("zipped", (visible(f"{base}/zipped"), sc.textFile(f"{base}/zipped").collect()))
    classes = {"mapreduce.job.output.key.class": INT, "mapreduce.job.output.value.class": TEXT}
    where = "mapreduce.output.fileoutputformat.outputdir"
    one.saveAsNewAPIHadoopDataset(
        {**classes, "mapreduce.job.outputformat.class": NEW_OUT + "TextOutputFormat", where: f"{base}/data-new"}
    )
    one.saveAsHadoopDataset(
        {**classes, "mapred.output.format.class": OLD_OUT + "TextOutputFormat", where: f"{base}/data-old"}
    )
    show("datasets", (visible(f"{base}/data-new"), visible(f"{base}/data-old")))


def checkpoints(sc, base):
    numbers = sc.parallelize([1, 2, 3], 2)
    show("no directory", (failure(numbers.checkpoint), sc.getCheckpointDir()))
    sc.setCheckpointDir(f"{base}/checkpoints")
    show("directory", sc.getCheckpointDir().startswith(f"file:{base}/checkpoints/"))
    calls = sc.accumulator(0)

    def counted(x):
        calls.add(1)
        return x + 1

    marked = numbers.map(counted)
    marked.checkpoint()
    show("before", (marked.isCheckpointed(), marked.getCheckpointFile(), marked.is_checkpointed))
    show("job", (marked.collect(), marked.isCheckpointed(), calls.value))
    show("after", (marked.collect(), marked.map(str).collect(), calls.value))
    path = marked.getCheckpointFile()
    show("file", (path.startswith(sc.getCheckpointDir() + "/rdd-"), visible(path[len("file:") :])))
    shuffled = numbers.map(lambda x: (x % 2, x)).reduceByKey(lambda x, y: x + y)
    shuffled.checkpoint()
    child = shuffled.mapValues(lambda x: x * 10)
    show("by a child", (sorted(child.collect()), shuffled.isCheckpointed(), child.isCheckpointed()))
    text = sc.textFile(f"{base}/lines.txt")
    text.checkpoint()
    show("text", (text.count(), text.isCheckpointed(), text.collect()))
    late = numbers.map(lambda x: x)
    late.collect()
    late.checkpoint()
    late.collect()
    show("too late", late.isCheckpointed())
    local = numbers.map(lambda x: x * 2)
    local.localCheckpoint()
    show("local", (local.isLocallyCheckpointed(), local.isCheckpointed(), str(local.getStorageLevel())))
    show("local job", (local.collect(), local.isCheckpointed(), local.getCheckpointFile(), local.collect()))
    show("neither", (numbers.isCheckpointed(), numbers.isLocallyCheckpointed()))
    cached = numbers.map(counted).persist(StorageLevel.MEMORY_AND_DISK)
    cached.checkpoint()
    seen = calls.value
    show("cached", (cached.collect(), cached.isCheckpointed(), calls.value - seen))


def approximate(sc):
    numbers = sc.parallelize(range(1, 101), 4)
    for name in ("countApprox", "sumApprox", "meanApprox"):
        answer = getattr(numbers, name)(10_000, 0.9)
        bounds = [answer.confidence, answer.low, answer.high] if name != "countApprox" else None
        show(name, (answer, bounds))
    show("of nothing", [getattr(sc.emptyRDD(), name)(10) for name in ("countApprox", "sumApprox", "meanApprox")])
    for count, deviation in ((0, 0.05), (10, 0.2), (100, 0.05), (1000, 0.2), (300, 0.05), (10_000, 0.05), (5000, 0.2)):
        rdd = sc.parallelize(range(count), 3)
        show(f"distinct of {count} within {deviation}", rdd.countApproxDistinct(deviation))
    words = sc.parallelize([f"w{i % 100}" for i in range(500)], 2)
    show("distinct words", words.countApproxDistinct(0.02))
    show("distinct tuples", sc.parallelize([(None, i, "a") for i in range(500)], 2).countApproxDistinct(0.02))
    show("too exact", failure(lambda: numbers.countApproxDistinct(0.00001)))


def barriers(sc):
    def gather(index, rows):
        context = BarrierTaskContext.get()
        time.sleep(0.3 * index)
        context.barrier()
        names = context.allGather(f"task {context.partitionId()}")
        again = context.allGather(str(sum(rows)))
        kinds = (type(context).__name__, type(TaskContext.get()).__name__)
        return [(names, again, len(context.getTaskInfos()), context.attemptNumber(), kinds)]

    two = sc.parallelize(range(10), 2)
    show("gather", two.barrier().mapPartitionsWithIndex(gather).collect())
    show("after a map", two.map(lambda x: x + 1).barrier().mapPartitions(lambda rows: gather(0, rows)).collect())
    summed = two.barrier().mapPartitionsWithIndex(gather).map(lambda x: (1, x[2])).reduceByKey(lambda x, y: x + y)
    show("before a shuffle", summed.collect())
    many = sc.parallelize(range(8), 4).barrier().mapPartitionsWithIndex(gather)
    show("too many", failure(many.collect))
    staged = two.barrier().mapPartitionsWithIndex(gather)
    show("take", failure(lambda: staged.take(1)))
    show("coalesce", failure(staged.coalesce(1).collect))
    show("union", failure(staged.union(two).collect))
    show("zip", failure(staged.zip(staged).collect))
    show("kinds", (staged._is_barrier(), staged.map(str)._is_barrier(), two._is_barrier()))
    show("elsewhere", failure(lambda: two.map(lambda x: BarrierTaskContext.get()).collect()))

    def fail(index, rows):
        if index == 0:
            raise ZeroDivisionError("on purpose")
        BarrierTaskContext.get().barrier()
        return rows

    show("failure", failure(lambda: two.barrier().mapPartitionsWithIndex(fail).collect()))
    show("afterwards", two.map(lambda x: type(TaskContext.get()).__name__).distinct().collect())


def properties(sc):
    def of_task(rows):
        context = TaskContext.get()
        yield [context.getLocalProperty(name) for name in ("mine", "spark.jobGroup.id", "other")]

    one = sc.parallelize([1], 1).mapPartitions(of_task)
    show("none", one.collect())
    sc.setLocalProperty("mine", "value")
    sc.setJobGroup("group", "what it does")
    show("set", one.collect())
    seen = []
    thread = InheritableThread(target=lambda: seen.append(one.collect()))
    thread.start()
    thread.join()
    plain = threading.Thread(target=lambda: seen.append(one.collect()))
    plain.start()
    plain.join()
    show("threads", seen)
    sc.setLocalProperty("mine", None)
    show("unset", one.collect())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        show("with group", sc.parallelize([1, 2], 1).collectWithJobGroup("g", "d"))
    show("warned", [str(warning.message) for warning in caught])
    tracker = sc.statusTracker()
    show("of group", len(tracker.getJobIdsForGroup("group")))
    job = tracker.getJobIdsForGroup("group")[0]
    info = tracker.getJobInfo(job)
    stage = tracker.getStageInfo(list(info.stageIds)[0])
    show("job", (info.jobId == job, info.status, stage.numTasks, stage.numCompletedTasks, stage.numActiveTasks))
    show("unknown", (tracker.getJobInfo(10**6), tracker.getStageInfo(10**6), tracker.getActiveJobsIds()))


def main():
    base = tempfile.mkdtemp()
    conf = SparkConf().setAppName("rdd_api").setIfMissing("spark.master", "local[2]")
    conf.set("spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures", "1")
    conf.set("spark.scheduler.barrier.maxConcurrentTasksCheck.interval", "1s")
    conf.set("spark.stage.maxConsecutiveAttempts", "1")
    try:
        with SparkContext(conf=conf) as sc:
            show("profiles", failure(sc.show_profiles))
            sequence_files(sc, base)
            pickle_files(sc, base)
            hadoop_formats(sc, base)
            checkpoints(sc, base)
            approximate(sc)
            barriers(sc)
            properties(sc)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
