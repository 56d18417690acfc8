"""RDD programs that the benchmark times: ``programs.py NAME MASTER SCALE DIRECTORY``.

Every program runs unchanged on Pyrite and on Apache Spark. After a warm-up at a twentieth of the
size the process waits for lines on its standard input; for each it runs the program once and
answers with one line of JSON: seconds and a result, which has to be the same on both engines.

With ``floor`` for MASTER the same work is done by one plain Python loop, without an engine.
"""

import json
import operator
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

PARTITIONS = 4
ITERATIONS = 10
NODES = 100_003
CLUSTERS = 8
DIMENSIONS = 8
BLOCK_ROWS = 10_000
WORDS_FILE = "words.txt"


def words_path(directory, scale):
    """Return the text file of that scale, made by :func:`write_words`."""
    return Path(directory) / f"{scale:g}-{WORDS_FILE}"


def write_words(directory, scale):
    """Write the text for the word count, 200 MB at scale 1, unless it is there."""
    path = words_path(directory, scale)
    if path.exists():
        return
    numbers = np.random.default_rng(7)
    vocabulary = np.array([f"{'abcdefghijklm'[n % 13]}{n:x}ing"[: 3 + n % 8] for n in range(60_000)])
    block = []
    for _ in range(20_000):
        ranks = np.minimum(numbers.zipf(1.3, 12), len(vocabulary)) - 1
        block.append(" ".join(vocabulary[ranks]))
    text = ("\n".join(block) + "\n").encode()
    size = int(200_000_000 * scale)
    with path.open("wb") as out:
        for start in range(0, size, len(text)):
            cut = text[: size - start]
            out.write(cut[: cut.rindex(b"\n") + 1])


def word_count(sc, scale, directory):
    """Count the words of a text of 200 MB."""
    lines = sc.textFile(str(words_path(directory, scale)))
    counts = lines.flatMap(lambda line: line.split(" ")).map(lambda word: (word, 1)).reduceByKey(operator.add)
    found = counts.collect()
    return [len(found), sum(count for _, count in found), max(count for _, count in found)]


def word_count_floor(scale, directory):
    """Count the words in a loop."""
    counts = defaultdict(int)
    with words_path(directory, scale).open() as lines:
        for line in lines:
            for word in line[:-1].split(" "):
                counts[word] += 1
    return [len(counts), sum(counts.values()), max(counts.values())]


def keyed(i):
    """Return a pair whose keys are spread all over a range that is no power of two."""
    return i * 7919 % 10_000_019, i


def sort_by_key(sc, scale, directory):
    """Sort 5 million pairs by key."""
    pairs = sc.range(int(5_000_000 * scale), numSlices=PARTITIONS).map(keyed)
    return pairs.sortByKey().glom().map(lambda part: [len(part), part[0][0], part[-1][0]]).collect()


def sort_by_key_floor(scale, directory):
    """Sort the same pairs in a list."""
    pairs = sorted(map(keyed, range(int(5_000_000 * scale))), key=operator.itemgetter(0))
    return [[len(pairs), pairs[0][0], pairs[-1][0]]]


def join(sc, scale, directory):
    """Join two sets of 1 million pairs, each key once in either."""
    size = int(1_000_000 * scale)
    left = sc.range(size, numSlices=PARTITIONS).map(lambda i: (i * 7 % size, i))
    right = sc.range(size, numSlices=PARTITIONS).map(lambda i: (i * 11 % size, -i))
    return left.join(right, PARTITIONS).map(lambda pair: pair[1][0] * 3 + pair[1][1]).sum()


def join_floor(scale, directory):
    """Join the same pairs with a dictionary."""
    size = int(1_000_000 * scale)
    left = defaultdict(list)
    for i in range(size):
        left[i * 7 % size].append(i)
    total = 0
    for i in range(size):
        for other in left.get(i * 11 % size, ()):
            total += other * 3 - i
    return total


def edge(i):
    """Return edge number `i` of a graph whose nodes have ten edges out and very different numbers in."""
    spread = i * 2654435761 % 4294967296
    return i * 7919 % NODES, spread % NODES * (spread % 997) // 997


def contributions(neighbours, rank):
    """Share a rank out to the neighbours."""
    share = rank / len(neighbours)
    return [(neighbour, share) for neighbour in neighbours]


def page_rank(sc, scale, directory):
    """Run ten iterations of PageRank over 1 million edges."""
    edges = sc.range(int(1_000_000 * scale), numSlices=PARTITIONS).map(edge)
    links = edges.distinct(PARTITIONS).groupByKey(PARTITIONS).cache()
    ranks = links.mapValues(lambda neighbours: 1.0)
    for _ in range(ITERATIONS):
        shares = links.join(ranks, PARTITIONS).flatMap(lambda node: contributions(*node[1]))
        ranks = shares.reduceByKey(operator.add, PARTITIONS).mapValues(lambda rank: 0.15 + 0.85 * rank)
    found = ranks.collect()
    links.unpersist(True)
    return [len(found), round(sum(rank for _, rank in found), 4), round(max(rank for _, rank in found), 6)]


def page_rank_floor(scale, directory):
    """Run PageRank over dictionaries."""
    links = defaultdict(list)
    for source, target in set(map(edge, range(int(1_000_000 * scale)))):
        links[source].append(target)
    ranks = dict.fromkeys(links, 1.0)
    for _ in range(ITERATIONS):
        shares = defaultdict(float)
        for source, neighbours in links.items():
            if source in ranks:
                for target, share in contributions(neighbours, ranks[source]):
                    shares[target] += share
        ranks = {node: 0.15 + 0.85 * rank for node, rank in shares.items()}
    return [len(ranks), round(sum(ranks.values()), 4), round(max(ranks.values()), 6)]


def points(split, scale):
    """Yield blocks of points around the clusters' centres, a share of 2 million in all."""
    numbers = np.random.default_rng(split)
    rows = int(2_000_000 * scale / PARTITIONS)
    for start in range(0, rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, rows - start)
        centres = numbers.integers(0, CLUSTERS, (count, 1)) * 10.0
        yield centres + numbers.standard_normal((count, DIMENSIONS))


def assign(block, centres):
    """Return, for each centre, sum and number of the points of a block that are nearest to it."""
    distances = ((block[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    nearest = distances.argmin(axis=1)
    sums = np.zeros((len(centres), DIMENSIONS + 1))
    for cluster in range(len(centres)):
        members = block[nearest == cluster]
        sums[cluster, :-1] = members.sum(axis=0)
        sums[cluster, -1] = len(members)
    return sums


def k_means(sc, scale, directory):
    """Run ten iterations of k-means over 2 million points in NumPy blocks."""
    blocks = sc.parallelize(range(PARTITIONS), PARTITIONS).flatMap(lambda split: points(split, scale)).cache()
    centres = np.arange(CLUSTERS)[:, None] * 9.0 + np.zeros(DIMENSIONS)
    for _ in range(ITERATIONS):
        sums = blocks.map(lambda block: assign(block, centres)).reduce(operator.add)  # noqa: B023 runs at once
        centres = sums[:, :-1] / np.maximum(sums[:, -1:], 1)
    blocks.unpersist(True)
    return np.round(centres.sum(axis=1), 3).tolist()


def k_means_floor(scale, directory):
    """Run k-means over a list of blocks."""
    blocks = [block for split in range(PARTITIONS) for block in points(split, scale)]
    centres = np.arange(CLUSTERS)[:, None] * 9.0 + np.zeros(DIMENSIONS)
    for _ in range(ITERATIONS):
        sums = sum(assign(block, centres) for block in blocks)
        centres = sums[:, :-1] / np.maximum(sums[:, -1:], 1)
    return np.round(centres.sum(axis=1), 3).tolist()


def reduce_by_key(sc, scale, directory):
    """Add up 10 million integers by key."""
    pairs = sc.range(int(10_000_000 * scale), numSlices=PARTITIONS).map(lambda i: (i % 10_007, i))
    sums = pairs.reduceByKey(lambda a, b: a + b).collect()
    return [len(sums), sum(total for _, total in sums)]


def reduce_by_key_floor(scale, directory):
    """Add up the same integers in a dictionary."""
    sums = defaultdict(int)
    for i in range(int(10_000_000 * scale)):
        sums[i % 10_007] += i
    return [len(sums), sum(sums.values())]


def collect(sc, scale, directory):
    """Bring 5 million integers to the application."""
    found = sc.range(int(5_000_000 * scale), numSlices=PARTITIONS).collect()
    return [len(found), found[0], found[-1]]


def collect_floor(scale, directory):
    """Make a list of them."""
    found = list(range(int(5_000_000 * scale)))
    return [len(found), found[0], found[-1]]


def tiny_jobs(sc, scale, directory):
    """Run 500 jobs of ten elements each."""
    total = 0
    for i in range(int(500 * scale)):
        total += sc.parallelize(range(10), 2).map(lambda x: x + i).sum()  # noqa: B023 runs at once
    return total


def map_sum(sc, scale, directory):
    """Send 10 million integers through a Python function and add them up."""
    return sc.range(int(10_000_000 * scale)).map(lambda x: x + 1).sum()


def map_sum_floor(scale, directory):
    """Add them up in one expression."""
    return sum(map(lambda x: x + 1, range(int(10_000_000 * scale))))


PROGRAMS = {
    "word count, 200 MB": (word_count, word_count_floor),
    "sortByKey, 5 million pairs": (sort_by_key, sort_by_key_floor),
    "join, 1 million keys each": (join, join_floor),
    "PageRank, 1 million edges, 10 iterations": (page_rank, page_rank_floor),
    "k-means with NumPy, 2 million points, 10 iterations": (k_means, k_means_floor),
    "reduceByKey, 10 million ints": (reduce_by_key, reduce_by_key_floor),
    "collect, 5 million ints": (collect, collect_floor),
    "500 tiny jobs": (tiny_jobs, None),
    "range, map, sum, 10 million ints": (map_sum, map_sum_floor),
}
WARM_UP = 0.05


def answer(run):
    """Run something and print how long it took and what came out."""
    begin = time.perf_counter()
    result = run()
    print(json.dumps({"seconds": time.perf_counter() - begin, "result": result}), flush=True)


def main():
    """Run a program each time a line arrives."""
    name, master, scale, directory = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
    program, floor = PROGRAMS[name]
    if master == "floor":
        answer(lambda: floor(scale, directory))
        return
    from pyspark import SparkConf, SparkContext

    sc = SparkContext(conf=SparkConf().setAppName(name).setMaster(master))
    answer(lambda: program(sc, scale * WARM_UP, directory))
    for _ in sys.stdin:
        answer(lambda: program(sc, scale, directory))
    sc.stop()


if __name__ == "__main__":
    main()
