"""What goes wrong with files, with the words of Hadoop."""

from pyspark.errors import PySparkException


def spark_error(message: str) -> PySparkException:
    """Return a ``SparkException`` of the kind that the driver's errors become."""
    # Importing it takes a while, and workers seldom need it.
    from pyspark.errors.exceptions.connect import SparkException

    return SparkException(message)


def output_exists(directory: str) -> PySparkException:
    """Return the error for a directory that a job must create and that is there."""
    return spark_error(f"Output directory file:{directory} already exists")


def no_output_directory() -> PySparkException:
    """Return the error for a configuration that does not say where to write."""
    return spark_error("Output directory not set.")


def no_input_paths() -> PySparkException:
    """Return the error for a configuration that does not say what to read."""
    return spark_error("No input paths specified in job")


def wrong_class(part: str, found: str, expected: str) -> PySparkException:
    """Return the error for a key or value of another class than its file's."""
    return spark_error(f"wrong {part} class: {found} is not class {expected}")
