"""The kernel inside a FastAPI application: submit, look and approve over HTTP; a restart loses nothing.

    uvicorn --app-dir examples fastapi_app:app
    curl -X POST localhost:8000/tasks/t1 -H 'content-type: application/json' -d '{"goal": "tidy up"}'
    curl localhost:8000/tasks
    curl -X POST localhost:8000/tasks/t1/approve/tidy

Stop the server with Ctrl-C, SIGTERM or `kill -9` at any time and start it again: agents that were at work
go on, questions nobody has answered are asked still. uvicorn keeps its own signal handlers; its shutdown
leaves the lifespan, and that stops the kernel with a last checkpoint. One worker process only: a run has
one owner. STEP_PAUSE is how many seconds a step takes. Delete the folder `state` to begin anew.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

from kernelckpt import CheckpointHook, Next, Scheduler, Turn
from kernelckpt.errors import UsageError

PAUSE = float(os.environ.get("STEP_PAUSE", "1"))
STEPS = 5


async def tidy(turn: Turn) -> Next | None:
    """Five steps of work, then a question, then the end."""
    if turn.number <= STEPS:
        await asyncio.sleep(PAUSE)  # a model would be called here
        turn.say(f"step {turn.number}")
        turn.spend(tokens=10)
        return None
    answer = turn.approvals.get("tidy")
    if answer is None:
        return turn.ask_approval("tidy", f"{turn.goal}: throw away what was found?")
    return turn.complete("thrown away" if answer.approved else "kept")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The kernel lives as long as the application does."""
    hook = CheckpointHook("file:./state")
    async with Scheduler({"tidy": tidy}, run_id="app", hooks=[hook]) as kernel:
        app.state.kernel = kernel
        yield


app = FastAPI(lifespan=lifespan)


def kernel_of(request: Request) -> Scheduler:
    """The application's kernel."""
    kernel: Scheduler = request.app.state.kernel
    return kernel


Kernel = Annotated[Scheduler, Depends(kernel_of)]


class NewTask(BaseModel):
    """What a client wants done."""

    goal: str


@app.post("/tasks/{task_id}", status_code=201)
async def submit(task_id: str, task: NewTask, kernel: Kernel) -> dict[str, str]:
    """Durable once it is answered; the same id again changes nothing."""
    return {"id": await kernel.submit("tidy", task_id=task_id, goal=task.goal)}


@app.get("/tasks")
async def tasks(kernel: Kernel) -> list[dict[str, Any]]:
    """Every task, with what it has said and what it asks."""
    asked = {question.task_id: question.key for question in kernel.approvals()}
    return [
        {
            "id": row.id,
            "state": row.state.label(),
            "asks": asked.get(row.id),
            "said": [message.text for message in kernel.context(row.id).history],
            "tokens": row.budget.total_tokens,
        }
        for row in kernel.tasks.all()
    ]


@app.post("/tasks/{task_id}/approve/{key}")
async def approve(task_id: str, key: str, kernel: Kernel) -> dict[str, str]:
    """Say yes; durable once it is answered."""
    try:
        await kernel.approve(task_id, key, by="http")
    except UsageError as error:
        raise HTTPException(404, str(error)) from error
    return {"approved": key}
