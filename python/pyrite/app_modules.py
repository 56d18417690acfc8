"""Sends the application's own modules to its workers.

A function of a module is pickled as a reference to it, so a worker has to import the module. On a
laptop that works by accident, through a shared working directory; here the modules that the
application has imported go along in a zip file, and a program of several files runs anywhere.
"""

import hashlib
import io
import os
import site
import sys
import sysconfig
import zipfile
from types import ModuleType
from typing import Dict, Iterator, Optional, Tuple

_OWN = {"pyrite", "pyspark", "py4j", "__main__", "__mp_main__"}
_LIBRARY_PARTS = {"site-packages", "dist-packages"}
_MAX_FILES = 5000


class ApplicationModules:
    """The application's modules as a zip file that changes as more of them are imported."""

    def __init__(self, ignored_directory: str):
        self._ignored = (os.path.join(ignored_directory, ""), *_library_directories())
        self._seen = -1
        self._digest = ""

    def changed(self) -> Optional[Tuple[str, bytes]]:
        """Return name and content of the zip file if it is a new one."""
        if len(sys.modules) == self._seen:
            return None
        self._seen = len(sys.modules)
        files = dict(self._files())
        if not files:
            return None
        digest = hashlib.sha256(repr(sorted(_stamp(*item) for item in files.items())).encode()).hexdigest()[:16]
        if digest == self._digest:
            return None
        self._digest = digest
        return f"app-modules-{digest}.zip", _zip(files)

    def _files(self) -> Iterator[Tuple[str, str]]:
        """Yield the name in the zip file and the path of every file."""
        packages: Dict[str, str] = {}
        for name, module in list(sys.modules.items()):
            path = self._application_file(name, module)
            if path is None:
                continue
            top = name.partition(".")[0]
            root = getattr(sys.modules.get(top), "__file__", None)
            if root and os.path.basename(root) == "__init__.py":
                packages[top] = os.path.dirname(os.path.abspath(root))
            else:
                inner = name.replace(".", "/")
                yield (f"{inner}/__init__.py" if hasattr(module, "__path__") else f"{inner}.py"), path
        for top, directory in packages.items():
            yield from _package_files(top, directory)

    def _application_file(self, name: str, module: Optional[ModuleType]) -> Optional[str]:
        """Return the source file of a module of the application, None for any other module."""
        if name.partition(".")[0] in _OWN:
            return None
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or not path.endswith(".py"):
            return None
        path = os.path.abspath(path)
        in_library = path.startswith(self._ignored) or not _LIBRARY_PARTS.isdisjoint(path.split(os.sep))
        return None if in_library or not os.path.isfile(path) else path


def _library_directories() -> Tuple[str, ...]:
    found = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    return tuple(os.path.join(os.path.abspath(path), "") for path in found if path)


def _package_files(top: str, directory: str) -> Iterator[Tuple[str, str]]:
    # All of the package: a function may import more of it than is loaded here.
    count = 0
    for current, inner, names in os.walk(directory):
        inner[:] = [d for d in inner if d.isidentifier() and d != "__pycache__"]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(current, name)
                yield os.path.join(top, os.path.relpath(path, directory)), path
                count += 1
        if count > _MAX_FILES:
            return


def _stamp(name: str, path: str) -> Tuple[str, int, int]:
    details = os.stat(path)
    return name, details.st_size, details.st_mtime_ns


def _zip(files: Dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            archive.write(path, name)
    return out.getvalue()
