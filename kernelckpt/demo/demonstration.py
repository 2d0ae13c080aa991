"""The demonstration as a whole: through kills, without kills, and on bare asyncio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from kernelckpt.demo.kills import kill_plan
from kernelckpt.demo.lives import Lives, Run, Watcher
from kernelckpt.demo.message import Aim, Config
from kernelckpt.demo.process import started
from kernelckpt.demo.tree import Tree, find_tree

BARE_SHARE = 4
"""On bare asyncio one agent in so many is run: it begins anew after every kill."""


class Settings(Struct, frozen=True):
    """What to demonstrate.

    Attributes:
        root: the tree to survey.
        seed: decides where the kills come.
        most_modules: survey at most so many modules.
        most_agents: send out at most so many agents.
        per_agent: a folder of more modules is shared out among several agents.
    """

    root: Path
    seed: int = 1
    most_modules: int | None = 1000
    most_agents: int | None = None
    per_agent: int = 6


class Demonstration(Struct, frozen=True):
    """What happened.

    Attributes:
        tree: what was surveyed.
        bare_tree: what was surveyed on bare asyncio.
        killed: the kernel's run through the kills.
        whole: the kernel's uninterrupted run.
        bare: the run on bare asyncio through the kills.
    """

    tree: Tree
    bare_tree: Tree
    killed: Run
    whole: Run
    bare: Run


Watch = Callable[[str, int], Watcher]
"""Makes a watcher for a run: given its title and how many turns it takes."""

Plan = Callable[[int, int, bool], list[Aim]]
"""Says where the kills come: given the turns of a run, a seed, and whether it is on bare asyncio."""


def surveyed(settings: Settings) -> Tree:
    """The tree that is surveyed.

    Raises:
        UsageError: there is nothing to survey.
    """
    tree = find_tree(settings.root, most_modules=settings.most_modules, per_agent=settings.per_agent)
    return tree if settings.most_agents is None else tree.thinned(settings.most_agents)


async def demonstrate(
    settings: Settings, folder: Path, watch: Watch, plan: Plan = kill_plan
) -> Demonstration:
    """Do all three runs.

    Args:
        settings: what to demonstrate.
        folder: where states and reports go; an empty folder.
        watch: makes the watcher of each run.
        plan: says where the kills come.

    Raises:
        UsageError: there is nothing to survey.
        KernelCkptError: a process ended, failed or hung by itself.
    """
    tree = surveyed(settings)
    bare_tree = tree.thinned(-(-len(tree.shares) // BARE_SHARE))
    async with started("kernelckpt.demo.counter", folder / "counter.txt") as counter:
        assert counter.stdout is not None
        port = int(await counter.stdout.readline())

        async def run(book: str, title: str, shared: Tree, kills: list[Aim]) -> Run:
            place = folder / book
            place.mkdir()
            side = "bare" if book == "bare" else "kernel"
            config = Config(side, book, shared, str(place), port)
            return await Lives(config, kills, watch(title, shared.turns)).run()

        killed = await run("killed", "kernel, killed", tree, plan(tree.turns, settings.seed, False))
        whole = await run("whole", "kernel, uninterrupted", tree, [])
        bare_kills = plan(bare_tree.turns, settings.seed, True)
        bare = await run("bare", "bare asyncio, killed", bare_tree, bare_kills)
    return Demonstration(tree, bare_tree, killed, whole, bare)
