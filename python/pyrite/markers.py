"""Environment variables that tell processes what they are."""

import os
import sys
from typing import Dict, Mapping

# Set by `mark_application`; children of this process must not take them for the user's.
_OURS: Dict[str, str] = {}

# Spark sets these for Python workers, and no application has them.
_WORKER_VARIABLES = (
    "PYTHON_WORKER_FACTORY_SECRET",
    "PYTHON_WORKER_FACTORY_SOCK_DIR",
    "PYTHON_UNIX_DOMAIN_ENABLED",
    "PYRITE_WORKER",
)


def is_python_worker() -> bool:
    """Tell whether this process is a Python worker or the daemon that forks them."""
    if any(name in os.environ for name in _WORKER_VARIABLES):
        return True
    started = sys.orig_argv
    return any(
        option == "-m" and module in ("pyspark.daemon", "pyspark.worker")
        for option, module in zip(started, started[1:])
    )


def set_marker(name: str, value: str) -> None:
    """Set an environment variable unless the user did."""
    if name not in os.environ:
        os.environ[name] = value
        _OURS[name] = value


def without_our_markers(environment: Mapping[str, str]) -> Dict[str, str]:
    """Return the environment as the user made it."""
    return {name: value for name, value in environment.items() if _OURS.get(name) != value}
