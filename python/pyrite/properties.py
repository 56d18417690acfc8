"""Properties of jobs that belong to the thread that starts them."""

import threading
from dataclasses import dataclass, field
from typing import Dict, Optional, Set

_GROUP = "spark.jobGroup.id"
_DESCRIPTION = "spark.job.description"
_INTERRUPT = "spark.job.interruptOnCancel"


@dataclass(frozen=True)
class JobProperties:
    """What a job takes along from its thread."""

    job_group: str = ""
    description: str = ""
    tags: Set[str] = field(default_factory=set)
    values: Dict[str, str] = field(default_factory=dict)


class ThreadProperties(threading.local):
    """Local properties and tags of each thread."""

    def __init__(self) -> None:
        self.values: Dict[str, str] = {}
        self.tags: Set[str] = set()

    def set(self, key: str, value: Optional[str]) -> None:
        """Set a property; None removes it."""
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = str(value)

    def get(self, key: str) -> Optional[str]:
        """Return a property, None if it is not set."""
        return self.values.get(key)

    def set_group(self, group: str, description: str, interrupt: bool) -> None:
        """Name the group of the jobs that this thread starts from now on."""
        self.set(_GROUP, group)
        self.set(_DESCRIPTION, description)
        self.set(_INTERRUPT, "true" if interrupt else "false")

    def set_description(self, description: Optional[str]) -> None:
        """Describe the jobs that this thread starts from now on."""
        self.set(_DESCRIPTION, description)

    def set_interrupt(self, interrupt: bool) -> None:
        """Say whether cancelling interrupts tasks."""
        self.set(_INTERRUPT, "true" if interrupt else "false")

    def snapshot(self) -> JobProperties:
        """Return a copy for one job."""
        return JobProperties(
            job_group=self.values.get(_GROUP, ""),
            description=self.values.get(_DESCRIPTION, ""),
            tags=set(self.tags),
            values=dict(self.values),
        )


def check_tag(tag: str) -> str:
    """Return a valid job tag.

    Raises
    ------
    ValueError
        If it is empty or holds a comma.
    """
    if not isinstance(tag, str) or not tag:
        raise ValueError("Spark job tag cannot be an empty string.")
    if "," in tag:
        raise ValueError("Spark job tag cannot contain ','.")
    return tag
