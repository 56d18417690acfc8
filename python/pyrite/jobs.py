"""Runs jobs on the driver and brings their results here."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Tuple

from pyspark import accumulators
from pyspark.serializers import CPickleSerializer

from pyrite.callsite import user_call_site
from pyrite.errors import driver_error
from pyrite.graph import build_graph

if TYPE_CHECKING:
    from pyrite.context import SparkContext
    from pyrite.rdd.base import RDDCore

_accumulator_lock = threading.Lock()
_pickle = CPickleSerializer()


class JobRunner:
    """Turns actions into calls of the driver's core service."""

    def __init__(self, context: "SparkContext"):
        self._context = context

    def request(
        self,
        rdd: "RDDCore[Any]",
        partitions: Sequence[int] = (),
        sink: Optional[Any] = None,
    ) -> Any:
        """Return the request for a job with the calling thread's properties.

        Parameters
        ----------
        partitions
            Partitions to compute; all if empty.
        sink
            A ``pyrite.core.TextFileSink``; without one, results come here.
        """
        context = self._context
        request = context._core.messages.RunJobRequest(partitions=partitions, call_site=str(user_call_site()))
        build_graph(request.graph, rdd)
        properties = context._properties.snapshot()
        request.description = properties.description
        request.job_group = properties.job_group
        request.tags.extend(sorted(properties.tags))
        request.local_properties.update(properties.values)
        if sink is not None:
            request.text_file_sink.CopyFrom(sink)
        return request

    def run(self, request: Any) -> Iterator[Tuple[int, bytes]]:
        """Run a job and yield (partition, whole frames) as they arrive.

        Frames of one partition keep their order. Accumulators are updated on the way.
        """
        finished = False
        for response in self._context._core.run_job(request):
            event = response.WhichOneof("event")
            if event == "data":
                yield response.data.partition, response.data.frames
            elif event == "accumulator":
                _update_accumulators(response.accumulator.updates)
            elif event == "done":
                finished = True
        if not finished:
            raise driver_error("the driver ended a job's results before the job was done")

    def results(self, rdd: "RDDCore[Any]", request: Any) -> Dict[int, List[Any]]:
        """Run a job and return the elements of each partition that has any."""
        results: Dict[int, List[Any]] = {}
        for partition, frames in self.run(request):
            elements = rdd._serializer.load_stream(io.BytesIO(frames))
            results.setdefault(partition, []).extend(elements)
        return results

    def collect(self, rdd: "RDDCore[Any]") -> List[Any]:
        """Return all elements in order."""
        results = self.results(rdd, self.request(rdd))
        return [element for partition in sorted(results) for element in results[partition]]

    def collect_partitions(self, rdd: "RDDCore[Any]", partitions: Sequence[int]) -> List[Any]:
        """Return the elements of some partitions, in the order asked for."""
        count = rdd.getNumPartitions()
        for partition in partitions:
            if not 0 <= partition < count:
                from pyspark.errors import IllegalArgumentException

                raise IllegalArgumentException(
                    f"Attempting to access a non-existent partition: {partition}. Total number of partitions: {count}"
                )
        if not partitions:
            return []
        results = self.results(rdd, self.request(rdd, sorted(set(partitions))))
        return [element for partition in partitions for element in results.get(partition, ())]

    def iterate(self, rdd: "RDDCore[Any]", prefetch: bool) -> Iterator[Any]:
        """Yield all elements, one job for each partition."""
        count = rdd.getNumPartitions()
        if not prefetch:
            for partition in range(count):
                yield from self.collect_partitions(rdd, [partition])
            return
        requests = (self.request(rdd, [partition]) for partition in range(count))
        with ThreadPoolExecutor(1, thread_name_prefix="pyrite-prefetch") as ahead:
            following = None
            for partition in range(count + 1):
                ready = following
                following = ahead.submit(self.results, rdd, next(requests)) if partition < count else None
                if ready is not None:
                    yield from ready.result().get(partition - 1, ())


def _update_accumulators(updates: Sequence[bytes]) -> None:
    for update in updates:
        update_accumulator(*_pickle.loads(update))


def update_accumulator(accumulator_id: int, value: Any) -> None:
    """Add what a task added to an accumulator; ids that are not accumulators are let be."""
    with _accumulator_lock:
        accumulator = accumulators._accumulatorRegistry.get(accumulator_id)
        if accumulator is not None:
            accumulator.add(value)
