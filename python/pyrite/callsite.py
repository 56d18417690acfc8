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
    whole_path: bool = False

    def __str__(self) -> str:
        file = self.file if self.whole_path else os.path.basename(self.file)
        return f"{self.function} at {file}:{self.linenum}"


def _is_library(filename: str) -> bool:
    return filename.startswith((_OURS, _pyspark_directory()))


def _pyspark_directory() -> str:
    return os.path.dirname(sys.modules["pyspark"].__file__ or "") + os.sep


def user_call_site(whole_path: bool = False) -> CallSite:
    """Return the innermost frame outside of this library and the function of ours it called.

    Parameters
    ----------
    whole_path
        Whether the text of it has the whole path of the file.
    """
    frame = sys._getframe(1)
    function = frame.f_code.co_name
    caller: Optional[object] = frame
    while caller is not None:
        code = caller.f_code  # type: ignore[attr-defined]
        if not _is_library(code.co_filename):
            return CallSite(function, code.co_filename, caller.f_lineno, whole_path)  # type: ignore[attr-defined]
        if not code.co_name.startswith("_") or code.co_name == "__init__":
            function = code.co_name
        caller = caller.f_back  # type: ignore[attr-defined]
    return CallSite(function, "<unknown>", 0, whole_path)
