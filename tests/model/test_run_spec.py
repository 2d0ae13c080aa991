"""Run specifications, capabilities, milestones, and what a child is spawned with."""

from __future__ import annotations

import msgspec
import pytest

from kernelckpt.model.capability import (
    CapabilityDescriptor,
    CapabilityFilter,
    CapabilityKind,
    CapabilityLease,
    CapabilityManifest,
)
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.isolation_manifest import IsolationManifest
from kernelckpt.model.milestone import (
    ExternalCommand,
    HarnessEval,
    HumanApproval,
    LlmJudge,
    MachineCheck,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    RetryPolicy,
    RollbackPolicy,
    Verifier,
)
from kernelckpt.model.process import AgentIsolation, AgentRole, ContextInheritance
from kernelckpt.model.run_spec import AgentRunSpec, Lane, RuntimeTask

READ = CapabilityDescriptor("read", CapabilityKind.TOOL, "reads a file")
NOTES = CapabilityDescriptor("notes", CapabilityKind.MEMORY, "remembers")
MANIFEST = CapabilityManifest((READ, NOTES))


def json_of(record):
    return msgspec.json.decode(msgspec.json.encode(record))


def test_identity():
    agent = AgentIdentity.new("a", "s")
    assert json_of(agent) == {"agent_id": "a", "session_id": "s", "is_sub_agent": False}
    child = AgentIdentity.sub_agent("c", "s2").with_parent("s")
    assert (child.is_sub_agent, child.parent_session_id) == (True, "s")


def test_a_new_spec_is_written_as_the_original_writes_it():
    spec = AgentRunSpec.new(AgentIdentity.new("a", "s"), AgentRole.VERIFY, "check")
    written = json_of(spec)
    assert list(written) == ["identity", "role", "isolation", "goal", "capability_filter"]
    assert (written["isolation"], written["capability_filter"]) == ("shared", {})
    del written["capability_filter"]
    assert msgspec.convert(written, AgentRunSpec) == spec


@pytest.mark.parametrize(
    ("kinds", "ids", "passing"),
    [
        ((), (), ("read", "notes")),
        ((CapabilityKind.TOOL,), (), ("read",)),
        ((), ("notes",), ("notes",)),
        ((CapabilityKind.TOOL,), ("notes",), ()),
    ],
)
def test_both_lists_of_a_filter_must_pass(kinds, ids, passing):
    assert MANIFEST.permitted_ids(CapabilityFilter(kinds, ids)) == passing


def test_a_manifest_replaces_by_kind_and_id():
    newer = msgspec.structs.replace(READ, lease=CapabilityLease(4))
    other = CapabilityDescriptor("read", CapabilityKind.MCP_SERVER, "another read")
    manifest = MANIFEST.upsert(newer, other)
    assert manifest.entries == (newer, NOTES, other)
    assert [entry.display for entry in manifest.entries] == ["Tool:read", "Memory:notes", "McpServer:read"]


@pytest.mark.parametrize(
    ("role", "inheritance"),
    [
        (AgentRole.EXPLORE, ContextInheritance.SYSTEM_ONLY),
        (AgentRole.VERIFY, ContextInheritance.SYSTEM_ONLY),
        (AgentRole.PLAN, ContextInheritance.FULL),
        (AgentRole.IMPLEMENT, ContextInheritance.FULL),
        (AgentRole.CUSTOM, ContextInheritance.NONE),
    ],
)
def test_an_isolation_manifest_follows_from_spec_and_capabilities(role, inheritance):
    spec = AgentRunSpec(AgentIdentity.sub_agent("c", "s2"), role, AgentIsolation.READ_ONLY, "look")
    manifest = IsolationManifest.of(spec, "s", MANIFEST)
    assert manifest.permitted_capability_ids == ("read", "notes")
    assert (manifest.agent_id, manifest.context_inheritance) == ("c", inheritance)
    proc = manifest.proc_info()
    assert (proc.parent_session_id, proc.role, proc.isolation) == ("s", role, AgentIsolation.READ_ONLY)


def test_a_runtime_task_writes_everything():
    assert json_of(RuntimeTask("g", ())) == {
        "goal": "g",
        "criteria": [],
        "metadata": None,
        "lane": "implement",
    }
    with pytest.raises(msgspec.ValidationError, match="criteria"):
        msgspec.convert({"goal": "g"}, RuntimeTask)
    assert Lane("retrieve") is Lane.RETRIEVE


def test_milestone_contract_types():
    phase = MilestonePhase(
        "p1", ("tests pass",), (READ,), ExternalCommand("make test"), retry_policy=RetryPolicy(2)
    )
    assert phase.rollback_policy is RollbackPolicy.TERMINATE
    written = json_of(MilestoneContract((phase, MilestonePhase("p2"))))
    assert written["phases"][0]["verifier"] == {"kind": "external_command", "cmd": "make test"}
    assert written["phases"][1] == {
        "id": "p2",
        "criteria": [],
        "unlocks": [],
        "unlock_policy": "immediate",
        "rollback_policy": "terminate",
    }
    assert msgspec.convert(written, MilestoneContract).phases[0] == phase


@pytest.mark.parametrize("verifier", [MachineCheck(), HarnessEval(), LlmJudge(), HumanApproval()])
def test_verifiers_are_told_apart_by_kind(verifier):
    assert msgspec.convert(json_of(verifier), Verifier) == verifier


def test_check_results():
    assert MilestoneCheckResult.pass_("p") == MilestoneCheckResult("p", passed=True)
    assert MilestoneCheckResult.fail("p", "no") == MilestoneCheckResult("p", passed=False, reason="no")
