"""What the survey adds up to, and the Markdown report on it: nothing in it depends on when or how often."""

from __future__ import annotations

from functools import reduce

from msgspec import Struct

from kernelckpt.demo.module import ModuleFacts
from kernelckpt.demo.tree import Tree

REPORT_NAME = "survey.md"
"""The report's file name."""


class Survey(Struct, frozen=True):
    """Modules added up.

    Attributes:
        modules: how many.
        lines: their lines.
        functions: their functions.
        undocumented: functions without a docstring.
        longest: lines of the longest function.
        longest_name: its name, with its module.
        findings: what was filed.
    """

    modules: int = 0
    lines: int = 0
    functions: int = 0
    undocumented: int = 0
    longest: int = 0
    longest_name: str = ""
    findings: int = 0

    def with_module(self, name: str, facts: ModuleFacts) -> Survey:
        """With one module more."""
        longest_name = f"{name}: {facts.longest_name}"
        return self.plus(
            Survey(
                1,
                facts.lines,
                facts.functions,
                facts.undocumented,
                facts.longest,
                longest_name,
                len(facts.findings),
            )
        )

    def plus(self, other: Survey) -> Survey:
        """Both together."""
        longer = other if other.longest > self.longest else self
        return Survey(
            modules=self.modules + other.modules,
            lines=self.lines + other.lines,
            functions=self.functions + other.functions,
            undocumented=self.undocumented + other.undocumented,
            longest=longer.longest,
            longest_name=longer.longest_name,
            findings=self.findings + other.findings,
        )


class ShareOutcome(Struct, frozen=True):
    """What one agent brought home; `error` when it failed."""

    name: str
    tokens: int
    survey: Survey
    error: str = ""


class Outcome(Struct, frozen=True):
    """What all of them brought home, in the order of the tree."""

    shares: tuple[ShareOutcome, ...]

    @property
    def total(self) -> Survey:
        """All of it together."""
        return reduce(Survey.plus, (share.survey for share in self.shares), Survey())


def markdown(tree: Tree, outcome: Outcome) -> str:
    """The report."""
    lines = [
        "# Survey of a source tree",
        "",
        _sums(tree, outcome),
        "",
        "| agent's share | modules | lines | functions | undocumented | findings | tokens |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(_row(share) for share in outcome.shares),
        "",
        *(f"Could not be looked into: {folder}" for folder in tree.unreadable),
    ]
    return "\n".join(lines) + "\n"


def _sums(tree: Tree, outcome: Outcome) -> str:
    total = outcome.total
    return (
        f"{total.modules} of {tree.found} modules in {tree.folders} folders, by {len(tree.shares)} agents: "
        f"{total.lines} lines, {total.functions} functions ({total.undocumented} without a docstring), "
        f"{total.findings} findings. Longest function: {total.longest} lines, {total.longest_name}."
    )


def _row(share: ShareOutcome) -> str:
    name = share.name.replace("|", "\\|")
    if share.error:
        return f"| {name} | failed: {share.error} |"
    survey = share.survey
    counts = (survey.modules, survey.lines, survey.functions, survey.undocumented, survey.findings)
    return f"| {name} | {' | '.join(map(str, counts))} | {share.tokens} |"
