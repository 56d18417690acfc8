"""Text files: what lines come out of which files, and what is written."""

from __future__ import annotations

import bz2
import glob
import gzip
import os

from corpus import case, failure, said, scratch, worker_failure


def write(directory, name, content):
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


def tree(directory):
    """Return every file below a directory."""
    return sorted(
        os.path.relpath(f, directory)
        for f in glob.glob(f"{directory}/**", recursive=True, include_hidden=True)
        if os.path.isfile(f)
    )


@case
def ends_of_lines(sc):
    contents = [
        "a\nb",
        "a\nb\n",
        "a\r\nb\r\n",
        "a\rb",
        "\n",
        "",
        "\n\n",
        "a\n\nb",
        " a \t\n",
        "a\0b\n",
        "\r\n\r\n",
        "x\n\r\ny",
    ]
    with scratch() as d:
        return [sc.textFile(write(d, f"f{i}", c), 1).collect() for i, c in enumerate(contents)]


@case
def encodings(sc):
    with scratch() as d:
        good, bad = write(d, "good", "ä\n日本\n😀\n"), write(d, "bad", b"a\xffb\n\xc3\n")
        bom = write(d, "bom", b"\xef\xbb\xbfx\ny")
        return [
            sc.textFile(good, 1).collect(),
            sc.textFile(good, 1, use_unicode=False).collect(),
            sc.textFile(bad, 1).collect(),
            sc.textFile(bad, 1, False).collect(),
            sc.textFile(bom, 1).collect(),
        ]


@case
def numbers_of_splits(sc):
    with scratch() as d:
        path = write(d, "lines", "".join(f"line {i}\n" for i in range(30)))
        small, empty = write(d, "small", "x\n"), write(d, "empty", "")
        return [
            [sc.textFile(path, n).getNumPartitions() for n in (1, 2, 3, 5, 8)],
            sc.textFile(path).getNumPartitions(),
            sc.textFile(small).getNumPartitions(),
            sc.textFile(small, 4).glom().collect(),
            sc.textFile(empty).getNumPartitions(),
            sc.textFile(path, 3).glom().map(len).collect(),
            sc.textFile(path, 3).glom().map(lambda p: p[:1]).collect(),
            sc.textFile(path, 40).glom().map(len).collect(),
        ]


@case
def splits_of_long_lines(sc):
    with scratch() as d:
        path = write(d, "lines", "a" * 50 + "\n" + "b\n" + "c" * 100 + "\r\n" + "d")
        return [sc.textFile(path, n).map(lambda line: (line[:1], len(line))).glom().collect() for n in (1, 2, 3, 7)]


@case
def several_paths(sc):
    with scratch() as d:
        for name in ("a.txt", "b.txt", "c.log", "sub/d.txt"):
            write(d, name, f"{name}\n")
        write(d, "_hidden", "hidden\n")
        write(d, ".dot", "dot\n")
        return [
            sc.textFile(f"{d}/a.txt,{d}/c.log").collect(),
            sorted(sc.textFile(f"{d}/*.txt").collect()),
            sorted(sc.textFile(f"{d}/[ab].txt").collect()),
            sorted(sc.textFile(f"{d}/{{a,c}}.*").collect()),
            sorted(sc.textFile(f"{d}/*/*.txt").collect()),
            sorted(sc.textFile(f"file://{d}/?.txt").collect()),
            sc.textFile(f"{d}/sub").collect(),
            sorted(sc.textFile(f"{d}/*.txt,{d}/sub/*").collect()),
        ]


@case
def directories_with_directories(sc):
    with scratch() as d:
        write(d, "data/a.txt", "a\n")
        write(d, "data/_logs", "no\n")
        write(d, "data/.crc", "no\n")
        found = sc.textFile(f"{d}/data").collect()
        write(d, "data/sub/b.txt", "b\n")
        return [found, failure(lambda: sc.textFile(f"{d}/data").collect()) != "no error"]


@case
def missing_paths(sc):
    pattern = "Input path does not exist: file:/nowhere/x|Input Pattern file:/nowhere/\\* matches 0 files"
    return [
        said(pattern, lambda: sc.textFile("/nowhere/x").collect()),
        said(pattern, lambda: sc.textFile("/nowhere/*").count()),
        said(pattern, lambda: sc.textFile("/nowhere/x").getNumPartitions()),
    ]


@case
def missing_paths_are_lazy(sc):
    with scratch() as d:
        rdd = sc.textFile(f"{d}/later").map(str.upper)
        write(d, "later", "now\n")
        return rdd.collect()


@case
def compressed_files(sc):
    text = "".join(f"{i}\n" for i in range(100))
    with scratch() as d:
        zipped, packed = write(d, "x.gz", gzip.compress(text.encode())), write(d, "x.bz2", bz2.compress(text.encode()))
        double = write(d, "two.gz", gzip.compress(b"a\n") + gzip.compress(b"b\n"))
        return [
            sc.textFile(zipped).map(int).sum(),
            sc.textFile(zipped, 4).getNumPartitions(),
            sc.textFile(packed).map(int).sum(),
            sc.textFile(packed, 1).take(3),
            sc.textFile(double).collect(),
            sc.textFile(f"{d}/x.*").count(),
        ]


@case
def names_with_odd_characters(sc):
    with scratch() as d:
        names = ["with space.txt", "plus+and%20.txt", "ä.txt", "a=b.txt"]
        paths = [write(d, name, f"{name}\n") for name in names]
        return [sc.textFile(path, 1).collect() for path in paths]


@case
def whole_files(sc):
    with scratch() as d:
        for name, content in {"b.txt": "two\nlines\n", "a.txt": "", "c.txt": "ä"}.items():
            write(d, name, content)

        def cut(pairs):
            return sorted((str(name).replace(d, "DIR"), content) for name, content in pairs)

        return [
            cut(sc.wholeTextFiles(d).collect()),
            cut(sc.wholeTextFiles(f"{d}/[bc]*", 1).collect()),
            sc.wholeTextFiles(d).values().map(len).sum(),
            cut(sc.wholeTextFiles(f"{d}/c.txt", use_unicode=False).collect()),
            cut(sc.binaryFiles(d).collect()),
            sc.wholeTextFiles(d, 1).getNumPartitions(),
            [type(x).__name__ for x in sc.wholeTextFiles(f"{d}/c.txt").first()],
        ]


@case
def binary_records(sc):
    with scratch() as d:
        path = write(d, "records", bytes(range(24)))
        return [
            sc.binaryRecords(path, 6).collect(),
            sc.binaryRecords(path, 24).count(),
            sc.binaryRecords(path, 8).map(lambda b: b[0]).sum(),
        ]


@case
def saved_text(sc):
    with scratch() as d:
        sc.parallelize(["one", "zwei ä", "", "drei"], 2).saveAsTextFile(f"{d}/out")
        with open(f"{d}/out/part-00001", "rb") as file:
            last = file.read()
        return [
            [n for n in tree(f"{d}/out") if not n.endswith(".crc")],
            last,
            os.path.getsize(f"{d}/out/_SUCCESS"),
            sorted(sc.textFile(f"{d}/out").collect()),
        ]


@case
def saved_text_of_other_types(sc):
    with scratch() as d:
        sc.parallelize([1, 2.5, None, (1, "a"), [1], {"k": 1}, True, "two\nlines", "ends\n"], 1).saveAsTextFile(
            f"{d}/out"
        )
        with open(f"{d}/out/part-00000", "rb") as file:
            content = file.read()
        sc.parallelize([b"raw", b"\xff"], 1).saveAsTextFile(f"{d}/raw")
        with open(f"{d}/raw/part-00000", "rb") as file:
            return [content, file.read()]


@case
def saved_empty_partitions(sc):
    with scratch() as d:
        sc.parallelize(["x"], 3).saveAsTextFile(f"{d}/out")
        sc.parallelize([], 2).saveAsTextFile(f"{d}/none")
        sc.emptyRDD().saveAsTextFile(f"{d}/nothing")
        sizes = [os.path.getsize(f) for f in sorted(glob.glob(f"{d}/out/part-*"))]
        return [
            sizes,
            sorted(os.listdir(f"{d}/none"))[-3:],
            [n for n in sorted(os.listdir(f"{d}/nothing")) if not n.startswith(".")],
            sc.textFile(f"{d}/none").collect(),
            sc.textFile(f"{d}/out").getNumPartitions(),
        ]


@case
def saved_compressed(sc):
    with scratch() as d:
        rdd = sc.parallelize(["one", "two"], 2)
        rdd.saveAsTextFile(f"{d}/gz", "org.apache.hadoop.io.compress.GzipCodec")
        rdd.saveAsTextFile(f"{d}/bz", compressionCodecClass="org.apache.hadoop.io.compress.BZip2Codec")
        with gzip.open(f"{d}/gz/part-00000.gz") as file:
            first = file.read()
        with bz2.open(f"{d}/bz/part-00001.bz2") as file:
            return [
                first,
                file.read(),
                [n for n in tree(d) if not n.endswith(".crc")],
                sorted(sc.textFile(f"{d}/gz").collect()),
            ]


@case
def saved_twice(sc):
    with scratch() as d:
        rdd = sc.parallelize(["x"], 1)
        rdd.saveAsTextFile(f"{d}/out")
        again = said(f"Output directory file:{d}/out already exists", lambda: rdd.saveAsTextFile(f"{d}/out"))
        os.mkdir(f"{d}/empty")
        return [
            [a.replace(d, "DIR") for a in again],
            said("already exists", lambda: rdd.saveAsTextFile(f"{d}/empty")),
            sc.textFile(f"{d}/out").collect(),
        ]


@case
def saved_with_errors(sc):
    with scratch() as d:
        rdd = sc.parallelize([1, 0], 2).map(lambda x: 1 // x)
        failed = worker_failure(lambda: rdd.saveAsTextFile(f"{d}/out"))[0]
        return [
            failed,
            os.path.exists(f"{d}/out/_SUCCESS"),
            said(
                "ClassNotFound|not found|No such|Compression codec",
                lambda: rdd.saveAsTextFile(f"{d}/c", "no.such.Codec"),
            )
            != ["no error"],
        ]


@case
def saved_after_shuffles(sc):
    with scratch() as d:
        words = (
            sc.parallelize(["b a", "c a"], 2).flatMap(str.split).map(lambda w: (w, 1)).reduceByKey(lambda a, b: a + b)
        )
        words.sortByKey().saveAsTextFile(f"file://{d}/deep/er/out")
        return [sorted(sc.textFile(f"{d}/deep/er/out").collect()), len(glob.glob(f"{d}/deep/er/out/part-*"))]


@case
def lines_in_programs(sc):
    with scratch() as d:
        path = write(d, "log", "INFO a\nERROR b\nINFO c\nERROR d e\n")
        lines = sc.textFile(path, 2)
        errors = lines.filter(lambda line: line.startswith("ERROR")).cache()
        counts = lines.map(lambda line: (line.split()[0], 1)).reduceByKey(lambda a, b: a + b)
        found = [
            errors.count(),
            errors.collect(),
            sorted(counts.collect()),
            lines.first(),
            lines.zipWithIndex().collect(),
            lines.union(errors).count(),
            lines.name() == path,
        ]
        errors.unpersist()
        return found


@case
def added_files(sc):
    from pyspark import SparkFiles

    with scratch() as d:
        sc.addFile(write(d, "added-numbers.txt", "7 8"))

        def read(x):
            with open(SparkFiles.get("added-numbers.txt")) as file:
                return [int(n) * x for n in file.read().split()]

        return [
            sc.parallelize([1, 2], 2).flatMap(read).collect(),
            open(SparkFiles.get("added-numbers.txt")).read(),
            [os.path.basename(p) for p in sc.listFiles if "added" in p],
        ]
