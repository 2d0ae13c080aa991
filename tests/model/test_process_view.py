"""The process view of a row, and the event that announces its change."""

from __future__ import annotations

import msgspec

from kernelckpt.model.os_event import AgentProcessChanged
from kernelckpt.model.process import AgentIsolation, AgentRole, ContextInheritance, ProcessState, ProcInfo
from kernelckpt.model.process_view import AgentProcess
from kernelckpt.model.result import LoopResult, SubAgentResult
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason

PROC = ProcInfo("s", AgentRole.VERIFY, AgentIsolation.READ_ONLY, ContextInheritance.SYSTEM_ONLY)


def test_a_root_has_no_view():
    assert AgentProcess.from_tcb(Tcb("root")) is None


def test_a_running_child_has_no_result():
    view = AgentProcess.from_tcb(Tcb("c", "root", state=TaskState.RUNNING, proc=PROC, caps=("read",)))
    assert (view.agent_id, view.parent_session_id, view.role) == ("c", "s", AgentRole.VERIFY)
    assert (view.state, view.result, view.result_termination) == (ProcessState.RUNNING, None, None)
    assert view.permitted_capability_ids == ("read",)


def test_an_ended_child_is_joined_or_failed_and_keeps_its_reason():
    result = SubAgentResult("c", LoopResult(TerminationReason.TIMEOUT, turns_used=2))
    proc = msgspec.structs.replace(PROC, result=result)
    failed = Tcb("c", "root", state=TaskState.done(TerminationReason.TIMEOUT), proc=proc)
    view = AgentProcess.from_tcb(failed)
    assert (view.state, view.result_termination) == (ProcessState.FAILED, "timeout")
    joined = Tcb("c", "root", state=TaskState.done(TerminationReason.COMPLETED), proc=PROC)
    assert AgentProcess.from_tcb(joined).state is ProcessState.JOINED


def test_agent_process_changed_locks_multiword_wire_form():
    view = AgentProcess.from_tcb(Tcb("c", "root", state=TaskState.RUNNING, proc=PROC))
    written = msgspec.to_builtins(AgentProcessChanged.of(3, view))
    assert written == {
        "kind": "agent_process_changed",
        "turn": 3,
        "agent_id": "c",
        "parent_session_id": "s",
        "role": "verify",
        "isolation": "readonly",
        "context_inheritance": "systemonly",
        "state": "running",
        "category": "proc",
        "primitive": "sched",
    }
