"""Fetches squared random numbers from a Spark cluster and reports what arrived.

Run it from this directory: ``python main.py [number of elements]``.
"""

import sys

from data.data_source import DataSource


def main() -> None:
    """Ask the data source for its values and print their number."""
    num_elements = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    source = DataSource()
    try:
        frame = source.get_data(num_elements)
    finally:
        source.close()
    print(f"Received {frame.shape[0]} rows of {frame.shape[1]} column: {', '.join(frame.columns)}")


if __name__ == "__main__":
    main()
