"""docs/performance.md shows what the committed results say, and every plot it names is there."""

from __future__ import annotations

import re

from benchmarks.command import NAMES, NEED_SERVERS, RESULTS, read_results
from benchmarks.page import PAGE, measured


def test_the_page_shows_the_results_as_they_are():
    results = read_results(RESULTS)
    assert [result.name for result in results] == [*NAMES, *NEED_SERVERS]
    assert measured(results) in PAGE.read_text()


def test_the_plots_of_the_page_are_there():
    plots = re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE.read_text())
    assert len(plots) >= len(NAMES)
    assert [plot for plot in plots if not (PAGE.parent / plot).is_file()] == []
