"""`python -m benchmarks`: run benchmarks, compare ratios with recorded ones, make the page."""

from __future__ import annotations

from benchmarks.command import main

if __name__ == "__main__":
    main()
