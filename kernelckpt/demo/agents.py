"""The agents: one surveys a share of the tree, a module a turn; the root spawns, joins, asks and reports."""

from __future__ import annotations

import msgspec

from kernelckpt import Program, Turn
from kernelckpt.demo.message import Moment
from kernelckpt.demo.module import ModuleFacts
from kernelckpt.demo.report import REPORT_NAME, Outcome, ShareOutcome, Survey, markdown
from kernelckpt.demo.site import Site
from kernelckpt.demo.tree import Share, Tree, shown
from kernelckpt.errors import EffectDenied
from kernelckpt.kernel.turn.ending import Next

ROOT = "survey"
"""The root agent's id."""

PUBLISH = "publish"
"""The key of its question."""


async def survey_share(turn: Turn) -> Next | None:
    """Survey the next module of a share; after the last one, sum up."""
    site: Site = turn.deps
    share: Share = turn.input
    site.begin(turn.task.id, turn.number)
    module = share.modules[turn.number - 1]
    facts = await site.examine(module)
    survey = (turn.state or Survey()).with_module(shown(module), facts)
    turn.set_state(survey)
    turn.say(_sentence(shown(module), facts))
    await site.reach(Moment.TURN)
    for finding in facts.findings:
        await _file(turn, f"{shown(module)}: {finding.kind}")
    if facts.findings:
        await site.reach(Moment.CALLS_DONE)
    turn.spend(tokens=facts.tokens)
    if turn.number < len(share.modules):
        return None
    return turn.complete(f"{survey.modules} modules, {survey.findings} findings", output=survey)


async def _file(turn: Turn, finding: str) -> None:
    try:
        await turn.call("file_finding", finding=finding)
    except EffectDenied:
        turn.emit(f"{finding} had been filed before the crash")


def _sentence(module: str, facts: ModuleFacts) -> str:
    found = "; ".join(f"{item.kind} ({item.count}, line {item.line})" for item in facts.findings)
    return f"{module}: {facts.lines} lines, {facts.functions} functions. {found or 'Nothing to report'}."


async def survey_tree(turn: Turn) -> Next:
    """Send out an agent for each share, join them, ask whether to publish, publish."""
    site: Site = turn.deps
    tree: Tree = turn.input
    site.begin(turn.task.id, turn.number)
    if turn.number == 1:
        turn.spend(tokens=len(tree.shares))
        turn.say(f"{len(tree.shares)} agents, {tree.modules} modules")
        return turn.join(*(_send_out(turn, number, share) for number, share in enumerate(tree.shares, 1)))
    if turn.number == 2:
        outcome = _outcome(turn, tree)
        turn.set_state(outcome)
        total = outcome.total
        return turn.ask_approval(
            PUBLISH,
            f"Publish a report on {total.modules} modules with {total.findings} findings?",
            payload={"modules": total.modules, "findings": total.findings},
        )
    if not turn.approvals[PUBLISH].approved:
        return turn.fail("the report was not to be published")
    await turn.call("publish", name=REPORT_NAME, text=markdown(tree, turn.state))
    return turn.complete("published")


def _send_out(turn: Turn, number: int, share: Share) -> str:
    return turn.spawn("share", task_id=f"{ROOT}/{number:04}", goal=f"survey {share.name}", input=share)


def _outcome(turn: Turn, tree: Tree) -> Outcome:
    results = [result for _, result in sorted(turn.results.items())]
    return Outcome(
        tuple(
            ShareOutcome(share.name, result.total_tokens_used, _survey(result.output), result.error)
            for share, result in zip(tree.shares, results, strict=True)
        )
    )


def _survey(output: object) -> Survey:
    return Survey() if output is None else msgspec.convert(output, Survey)


PROGRAMS = {
    "share": Program(survey_share, state=Survey, input=Share, output=Survey),
    "tree": Program(survey_tree, state=Outcome, input=Tree),
}
"""The agents' programs by name."""
