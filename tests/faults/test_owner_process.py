"""A process that owned a run, stopped at any point of its work, does nothing more that counts."""

import signal

from owner_kit import beginning

from kernelckpt import FileStorage, load


async def test_an_owner_stopped_at_any_point_of_its_work_files_at_most_what_is_in_doubt(tmp_path):
    folder = tmp_path / "state"
    async with beginning(f"file:{folder}") as begin:
        await stop_and_continue(begin, folder)


async def stop_and_continue(begin, folder):
    first = await begin()
    await first.says("started")
    for number in range(300):
        first.send(f"item-{number}")
    await first.says("filed item-20")
    first.process.send_signal(signal.SIGSTOP)
    second = await begin(takeover=True)
    await second.says("started")
    async with FileStorage(folder) as storage:
        taken = await load(storage, "run")
    committed = [message.text for message in taken.context.history_messages]
    calls = [effect.status.value for effects in taken.effects.values() for effect in effects.values()]
    first.process.send_signal(signal.SIGCONT)
    first.process.stdin.close()
    code, _ = await first.ends()
    assert code == 1
    filed = [line.removeprefix("filed ") for line in first.said if line.startswith("filed")]
    assert filed[: len(committed)] == committed
    known = len(committed) + calls.count("returned")
    assert known <= len(filed) <= known + calls.count("started"), "at most what was begun before"
    assert calls.count("started") <= 1
