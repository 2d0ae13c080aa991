"""An agent that pays through a tool, but only after a human has agreed - in another process, days later.

    python examples/tools_and_approval.py            the agent asks, and the process ends
    python examples/tools_and_approval.py approve    a second process answers; the agent pays
    python examples/tools_and_approval.py deny       ... or is told not to

`pay` is not idempotent: should the process die while it is being called, the kernel does not call it a
second time on its own. The task then waits, and a run without an argument shows what is in doubt:
approve does it again, deny does not. Delete the folder `state` and the file `paid.txt` to begin anew.
"""

import asyncio
import sys
from pathlib import Path

from kernelckpt import CheckpointHook, Message, Next, Scheduler, ToolCall, Turn, tool
from kernelckpt.errors import EffectDenied


@tool(effect="ask")
def pay(invoice: str, amount: int) -> str:
    """Pay an invoice; here: write it into a file."""
    with Path("paid.txt").open("a") as book:
        book.write(f"{invoice} {amount}\n")
    return f"paid {amount} for {invoice}"


@tool(effect="idempotent")
def look_up(invoice: str) -> dict[str, int]:
    """What an invoice amounts to; may be asked as often as one likes."""
    return {"amount": 40 + len(invoice)}


async def clerk(turn: Turn) -> Next | None:
    """Look up by a tool call of the assistant's message, ask a human, pay by a call of the program's."""
    if turn.number == 1:  # a model's reply would come here
        call = ToolCall("call-1", "look_up", {"invoice": "A7"})
        return turn.request(Message.assistant("I look it up.", [call]))
    answer = turn.approvals.get("payment")
    if answer is None:
        books = turn.messages[-1].text
        return turn.ask_approval("payment", f"Pay A7? The books say {books}", {"invoice": "A7"})
    if not answer.approved:
        return turn.complete(f"not paid: {answer.reason}")
    try:
        return turn.complete(await turn.call("pay", invoice="A7", amount=42))
    except EffectDenied:
        return turn.complete("nobody knows whether it was paid, and it is not to be done again")


async def main(answer: str) -> None:
    """Go on as far as possible without a human; answer what is asked if this run is to."""
    hook = CheckpointHook("file:./state")
    async with Scheduler({"clerk": clerk}, tools=[pay, look_up], run_id="office", hooks=[hook]) as kernel:
        await kernel.submit("clerk", task_id="a7", goal="have invoice A7 paid")
        await kernel.idle()
        for question in kernel.approvals():
            print(f"asked: {question.prompt}")
            if answer == "approve":
                await kernel.approve(question.task_id, question.key, by="the accountant")
            elif answer == "deny":
                await kernel.deny(question.task_id, question.key, reason="the accountant said no")
        await kernel.idle()
        if not kernel.tasks.live():
            print((await kernel.join("a7")).text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
