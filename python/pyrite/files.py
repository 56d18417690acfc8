"""Files, archives and Python modules that go to every worker."""

import os
import shutil
import sys
import threading
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Dict, List, Optional

from pyspark.errors import IllegalArgumentException

from pyrite.app_modules import ApplicationModules
from pyrite.errors import not_supported

if TYPE_CHECKING:
    from pyrite.context import SparkContext

__all__ = ["SparkFiles"]

_PACKAGES = (".zip", ".egg", ".jar")


class SparkFiles:
    """Finds files that were added with :meth:`SparkContext.addFile` and its relatives.

    Only class methods; works on the driver and inside of functions on workers.
    """

    # Set by `pyspark.worker_util` in Python workers.
    _root_directory: ClassVar[Optional[str]] = None
    _is_running_on_worker: ClassVar[bool] = False
    _sc: ClassVar[Optional["SparkContext"]] = None

    def __init__(self) -> None:
        raise NotImplementedError("Do not construct SparkFiles objects")

    @classmethod
    def get(cls, filename: str) -> str:
        """Return the absolute path of an added file."""
        return os.path.abspath(os.path.join(cls.getRootDirectory(), filename))

    @classmethod
    def getRootDirectory(cls) -> str:
        """Return the directory that holds the added files."""
        if cls._is_running_on_worker:
            assert cls._root_directory is not None
            return cls._root_directory
        if cls._sc is None:
            raise RuntimeError("SparkFiles needs an active SparkContext")
        return cls._sc._shared_files.root


@dataclass
class SharedFile:
    """A file below the driver's `files` directory that workers must have."""

    source: str
    name: str
    size_bytes: int
    modified_millis: int
    archive: bool


class SharedFiles:
    """The files of one application: what workers fetch, and the application's own view of it.

    Both are one directory where the driver runs tasks itself: its workers read files where they lie.
    """

    def __init__(self, shared_directory: str, root: str, ship_modules: bool = True):
        self._shared_directory = shared_directory
        self.root = root
        self._modules = ApplicationModules(os.path.dirname(root)) if ship_modules else None
        self._modules_entry: Optional[str] = None
        self._lock = threading.Lock()
        os.makedirs(root, exist_ok=True)
        self.entries: Dict[str, SharedFile] = {}
        self.python_includes: List[str] = []

    def add(self, path: str, archive: bool = False, recursive: bool = False) -> SharedFile:
        """Share a file; the same content under the same name again changes nothing."""
        location, _, alias = path.partition("#") if archive else (path, "", "")
        local = self._fetch(location)
        if os.path.isdir(local) and not recursive:
            raise IllegalArgumentException(
                f"Don't support add file. The file {local} is a directory and recursive is not turned on"
            )
        if not os.path.exists(local):
            raise FileNotFoundError(f"File {path} does not exist")
        name = alias or os.path.basename(local.rstrip("/"))
        if os.path.isdir(local):
            for directory, _, files in os.walk(local):
                relative = os.path.join(name, os.path.relpath(directory, local))
                for file in files:
                    inner = os.path.normpath(os.path.join(relative, file))
                    self._share(os.path.join(directory, file), inner, False, path)
            return SharedFile(path, name, 0, 0, False)
        return self._share(local, name, archive, path)

    def add_python(self, path: str) -> None:
        """Share a module or package and put it on the import path of workers and driver."""
        entry = self.add(path)
        if entry.name.lower().endswith(_PACKAGES):
            if entry.name not in self.python_includes:
                self.python_includes.append(entry.name)
            sys.path.insert(1, os.path.join(self.root, entry.name))
        import importlib

        importlib.invalidate_caches()

    def added(self) -> List[SharedFile]:
        """Return what the user added."""
        return [entry for name, entry in self.entries.items() if name != self._modules_entry]

    def fill(self, function: Any) -> None:
        """Write the files into a ``pyrite.core.PythonFunction``."""
        self._update_modules()
        function.python_includes.extend(self.python_includes)
        for entry in self.entries.values():
            function.files.add(
                name=entry.name,
                size_bytes=entry.size_bytes,
                modified_millis=entry.modified_millis,
                archive=entry.archive,
            )

    def _update_modules(self) -> None:
        """Share the application's own modules if it has imported more of them."""
        if self._modules is None:
            return
        with self._lock:
            changed = self._modules.changed()
            if changed is None:
                return
            name, content = changed
            path = os.path.join(self._shared_directory, name)
            with open(path, "wb") as file:
                file.write(content)
            if self._modules_entry is not None:
                del self.entries[self._modules_entry]
                self.python_includes.remove(self._modules_entry)
            # Added modules and packages come before it on the workers' path.
            self.python_includes.insert(0, name)
            self.entries[name] = SharedFile(path, name, len(content), 0, False)
            self._modules_entry = name

    def _fetch(self, location: str) -> str:
        url = urllib.parse.urlparse(location)
        if url.scheme in ("", "file", "local"):
            path = urllib.parse.unquote(url.path) if url.scheme else location
            return os.path.abspath(path)
        if url.scheme in ("http", "https", "ftp"):
            target = os.path.join(self.root, os.path.basename(url.path))
            from urllib.request import urlopen

            with urlopen(location) as response, open(target, "wb") as file:
                shutil.copyfileobj(response, file)
            return target
        raise not_supported(f"adding files from {url.scheme}:")

    def _share(self, local: str, name: str, archive: bool, source: str) -> SharedFile:
        details = os.stat(local)
        entry = SharedFile(source, name, details.st_size, details.st_mtime_ns // 1_000_000, archive)
        if self.entries.get(name) == entry:
            return entry
        view = os.path.join(self.root, name)
        if archive:
            _unpack(local, view)
        elif os.path.abspath(view) != local:
            _replace(local, view)
        if self._shared_directory != self.root:
            _replace(local, os.path.join(self._shared_directory, name))
        self.entries[name] = entry
        return entry


def _replace(source: str, target: str) -> None:
    # Readers see the old file or the new one, never half of it.
    os.makedirs(os.path.dirname(target), exist_ok=True)
    partial = f"{target}.part"
    shutil.copy2(source, partial)
    os.replace(partial, target)


def _unpack(archive: str, directory: str) -> None:
    """Unpack a zip or tar file, whatever its name."""
    import tarfile
    import zipfile

    os.makedirs(directory, exist_ok=True)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            file.extractall(directory)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as file:
            if hasattr(tarfile, "tar_filter"):
                file.extraction_filter = tarfile.tar_filter  # the default differs between Pythons
            file.extractall(directory)
    else:
        raise IllegalArgumentException(f"{archive} is neither a zip file nor a tar file")
