"""``python -m pyrite``: runs the ``pyrite`` binary that belongs to this environment."""

import os
import sys

from pyrite.errors import driver_error
from pyrite.launcher import find_binary


def main() -> None:
    """Replace this process by the binary."""
    binary = find_binary()
    try:
        os.execv(binary, [binary, *sys.argv[1:]])
    except OSError as error:
        raise driver_error(f"cannot run `{binary}`: {error}") from error


if __name__ == "__main__":
    main()
