"""Which line of the user's program is calling."""

import os
import sys
from typing import NamedTuple, Optional

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


class CallSite(NamedTuple):
    """A call of ours in somebody else's code."""

    function: str
    file: str
    linenum: int

    def __str__(self) -> str:
        return f"{self.function} at {os.path.basename(self.file)}:{self.linenum}"


def _is_library(filename: str) -> bool:
    return filename.startswith((_OURS, _pyspark_directory()))


def _pyspark_directory() -> str:
    return os.path.dirname(sys.modules["pyspark"].__file__ or "") + os.sep


def user_call_site() -> CallSite:
    """Return the innermost frame outside of this library and the function of ours it called."""
    frame = sys._getframe(1)
    function = frame.f_code.co_name
    caller: Optional[object] = frame
    while caller is not None:
        code = caller.f_code  # type: ignore[attr-defined]
        if not _is_library(code.co_filename):
            return CallSite(function, code.co_filename, caller.f_lineno)  # type: ignore[attr-defined]
        if not code.co_name.startswith("_") or code.co_name == "__init__":
            function = code.co_name
        caller = caller.f_back  # type: ignore[attr-defined]
    return CallSite(function, "<unknown>", 0)
