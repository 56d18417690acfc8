"""Which resource profiles a cluster serves."""

from pyspark.conf import SparkConf
from pyspark.resource import ResourceProfile

from pyrite.errors import not_supported
from pyrite.hadoop.errors import spark_error


def check_profile(profile: ResourceProfile, master: str, conf: SparkConf) -> None:
    """Check that an RDD may have a profile.

    Raises
    ------
    SparkException
        If Spark would refuse it on such a master.
    PySparkNotImplementedError
        If tasks would need more than one core, or other resources.
    """
    if profile.executorResources:
        # No dynamic allocation here, which they need.
        raise spark_error(
            "ResourceProfiles are only supported on YARN and Kubernetes and Standalone with dynamic allocation enabled."
        )
    if master.startswith("local") and not master.startswith("local-cluster"):
        raise spark_error(
            "TaskResourceProfiles are only supported for Standalone, Yarn and Kubernetes cluster for now when dynamic "
            "allocation is disabled."
        )
    for name, request in profile.taskResources.items():
        if name != "cpus" or request.amount != float(conf.get("spark.task.cpus", "1") or 1):
            raise not_supported(f"a resource profile with {request.amount:g} {name} for a task")
