"""A driver in plain Python: the same start, the same protocol, RDDs computed in this process.

It follows ``core.proto`` as the real driver does and calls functions as ``pyspark.worker`` does, so
the Python package can be tested without the engine. No parallelism, no Spark Connect.
"""

from __future__ import annotations

import base64
import glob
import io
import json
import os
import re
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from pyspark import accumulators
from pyspark.core.broadcast import Broadcast, _broadcastRegistry
from pyspark.serializers import CPickleSerializer, NoOpSerializer, write_int

from pyrite.rpc import load_messages

Partitions = list[list[bytes]]
PICKLE = CPickleSerializer()


def unframe(data: bytes) -> list[bytes]:
    return list(NoOpSerializer().load_stream(io.BytesIO(data)))


def frame(payloads: list[bytes]) -> bytes:
    out = io.BytesIO()
    for payload in payloads:
        write_int(len(payload), out)
        out.write(payload)
    return out.getvalue()


class Engine:
    """Computes graphs; keeps persisted RDDs."""

    def __init__(self, local_dir: str):
        self.local_dir = local_dir
        self.kept: dict[int, Partitions] = {}
        self.updates: list[bytes] = []

    def run(self, graph: Any) -> Partitions:
        nodes = {node.id: node for node in graph.nodes}
        done: dict[int, Partitions] = {}
        for node in graph.nodes:
            if node.id in self.kept:
                done[node.id] = self.kept[node.id]
                continue
            done[node.id] = getattr(self, node.WhichOneof("kind"))(node, done)
            if node.HasField("storage_level"):
                self.kept[node.id] = done[node.id]
        assert graph.root_id in nodes
        return done[graph.root_id]

    def parallel_collection(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        partitions = []
        for part in node.parallel_collection.slices:
            if part.file:
                with open(os.path.join(self.local_dir, "parallel", part.file), "rb") as file:
                    file.seek(part.offset_bytes)
                    partitions.append(unframe(file.read(part.length_bytes)))
            else:
                partitions.append(list(part.frames))
        return partitions

    def empty_partitions(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        return [[] for _ in range(node.empty_partitions.num_partitions)]

    def text_file(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        path = node.text_file.path
        files = sorted(glob.glob(os.path.join(path, "part-*"))) if os.path.isdir(path) else [path]
        return [Path(file).read_bytes().splitlines() for file in files]

    def data_frame_rows(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        import pyspark.sql.connect.proto as pb

        service = self.service
        relation = pb.Relation.FromString(node.data_frame_rows.relation)
        service.lock.release()  # the relation may be an RDD of this engine
        try:
            return service.connect.streams(relation)
        finally:
            service.lock.acquire()

    def python_map(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        function = node.python_map.function
        for broadcast_id in function.broadcast_ids:
            path = os.path.join(self.local_dir, "broadcast", str(broadcast_id))
            _broadcastRegistry[broadcast_id] = Broadcast(path=path)
        for include in function.python_includes:
            path = os.path.join(self.local_dir, "files", include)
            assert os.path.exists(path), path
            if path not in sys.path:
                sys.path.insert(1, path)
        results = []
        for split, frames in enumerate(done[node.python_map.parent_id]):
            accumulators._accumulatorRegistry.clear()
            run, profiler, deserializer, serializer = PICKLE.loads(function.command)
            assert profiler is None
            out = io.BytesIO()
            serializer.dump_stream(run(split, deserializer.load_stream(io.BytesIO(frame(frames)))), out)
            results.append(unframe(out.getvalue()))
            for pair in accumulators._accumulatorRegistry.items():
                self.updates.append(PICKLE.dumps((pair[0], pair[1]._value)))
        return results

    def union(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        return [frames for parent in node.union.parent_ids for frames in done[parent]]

    def shuffle(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        targets: Partitions = [[] for _ in range(node.shuffle.num_partitions)]
        for frames in done[node.shuffle.parent_id]:
            for payload in frames:
                targets[struct.unpack_from(">I", payload)[0]].append(payload[4:])
        return targets

    def coalesce(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        parents = done[node.coalesce.parent_id]
        count = min(node.coalesce.num_partitions, len(parents))
        return [
            [f for p in parents[i * len(parents) // count : (i + 1) * len(parents) // count] for f in p]
            for i in range(count)
        ]

    def zip(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        return [
            [pair(x, y) for x, y in zip(left, right)]
            for left, right in zip(done[node.zip.left_id], done[node.zip.right_id])
        ]

    def cartesian(self, node: Any, done: dict[int, Partitions]) -> Partitions:
        return [
            [pair(x, y) for x in left for y in right]
            for left in done[node.cartesian.left_id]
            for right in done[node.cartesian.right_id]
        ]


def pair(left: bytes, right: bytes) -> bytes:
    return struct.pack(">I", len(left)) + left + right


class Service:
    """``pyrite.core.CoreService``."""

    def __init__(self, packages: Any, engine: Engine, token: str):
        self.messages = packages["pyrite.core"]
        self.error = packages["pyrite.exec"].SparkError
        self.engine = engine
        engine.service = self
        self.token = token
        self.stopped = threading.Event()
        self.lock = threading.Lock()

    def handler(self) -> Any:
        methods = {}
        for name in ("DescribeRdd", "UnpersistRdd", "RemoveBroadcast", "CancelJobs", "GetStatus", "Stop"):
            methods[name] = grpc.unary_unary_rpc_method_handler(
                self.guarded(getattr(self, name)),
                request_deserializer=getattr(self.messages, f"{name}Request").FromString,
                response_serializer=getattr(self.messages, f"{name}Response").SerializeToString,
            )
        methods["RunJob"] = grpc.unary_stream_rpc_method_handler(
            self.RunJob,
            request_deserializer=self.messages.RunJobRequest.FromString,
            response_serializer=self.messages.RunJobResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("pyrite.core.CoreService", methods)

    def check(self, context: Any) -> None:
        if ("authorization", f"Bearer {self.token}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")

    def guarded(self, method: Any) -> Any:
        def call(request: Any, context: Any) -> Any:
            self.check(context)
            return method(request)

        return call

    def RunJob(self, request: Any, context: Any) -> Iterator[Any]:
        self.check(context)
        response = self.messages.RunJobResponse
        if request.description == "die":
            os._exit(7)
        try:
            with self.lock:
                self.engine.updates = []
                partitions = self.engine.run(request.graph)
                updates = list(self.engine.updates)
        except Exception:
            import traceback

            error = self.error(class_name="org.apache.spark.api.python.PythonException", message=traceback.format_exc())
            context.set_trailing_metadata((("pyrite-error-bin", error.SerializeToString()),))
            context.abort(grpc.StatusCode.INTERNAL, "failed")
        yield response(started=self.messages.JobStarted(job_id=1, num_partitions=len(partitions)))
        for partition in request.partitions or range(len(partitions)):
            frames = partitions[partition]
            if request.HasField("text_file_sink"):
                directory = Path(request.text_file_sink.path)
                directory.mkdir(parents=True, exist_ok=True)
                (directory / f"part-{partition:05}").write_bytes(b"".join(f + b"\n" for f in frames))
            else:
                for payload in frames:
                    yield response(data=self.messages.PartitionData(partition=partition, frames=frame([payload])))
            yield response(partition_done=self.messages.PartitionDone(partition=partition))
        yield response(accumulator=self.messages.AccumulatorUpdate(updates=updates))
        yield response(done=self.messages.JobDone())

    def DescribeRdd(self, request: Any) -> Any:
        with self.lock:
            return self.messages.DescribeRddResponse(num_partitions=len(self.engine.run(request.graph)))

    def UnpersistRdd(self, request: Any) -> Any:
        self.engine.kept.pop(request.rdd_id, None)
        return self.messages.UnpersistRddResponse()

    def RemoveBroadcast(self, request: Any) -> Any:
        return self.messages.RemoveBroadcastResponse()

    def CancelJobs(self, request: Any) -> Any:
        return self.messages.CancelJobsResponse()

    def GetStatus(self, request: Any) -> Any:
        return self.messages.GetStatusResponse(default_parallelism=2)

    def Stop(self, request: Any) -> Any:
        self.stopped.set()
        return self.messages.StopResponse()


def main() -> None:
    start = json.loads(sys.stdin.readline())
    conf = {"spark.master": "local[2]", "spark.app.name": "pyspark-shell", **start["submit_conf"], **start["conf"]}
    if conf["spark.master"].startswith("spark://"):
        text = f"cannot reach the master {conf['spark.master']}"
        print(json.dumps({"ok": False, "error_class": "org.apache.spark.SparkException", "message": text}), flush=True)
        sys.exit(1)
    threads = re.match(r"local\[(\d+)\]", conf["spark.master"])
    descriptors = Path(os.environ["FAKE_DRIVER_DESCRIPTORS"]).read_bytes()
    with tempfile.TemporaryDirectory(prefix="fake-driver-") as local_dir:
        service = Service(load_messages(descriptors), Engine(local_dir), "secret")
        server = grpc.server(
            futures.ThreadPoolExecutor(4),
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_metadata_size", 1 << 20)],
        )
        server.add_generic_rpc_handlers((service.handler(),))
        if "FAKE_DRIVER_CONNECT" in os.environ:
            from fake_connect import Connect, base_pb2_grpc

            service.connect = Connect(service, dict(conf))
            base_pb2_grpc.add_SparkConnectServiceServicer_to_server(service.connect, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        answer = {
            "ok": True, "app_id": "fake-1", "port": port, "token": "secret", "conf": conf,
            "master": conf["spark.master"], "default_parallelism": int(threads[1]) if threads else 1,
            "local_dir": local_dir, "web_url": "", "version": "test",
            "descriptor_set": base64.b64encode(descriptors).decode(),
        }  # fmt: skip
        print(json.dumps(answer), flush=True)
        while sys.stdin.readline():
            pass
        server.stop(0)


if __name__ == "__main__":
    main()
