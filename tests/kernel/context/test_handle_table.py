"""The handle table: what lies in the context whole."""

from __future__ import annotations

import pytest
from context_kit import answer, calling, seen, user

from kernelckpt.kernel.context.handle_table import HandleTable
from kernelckpt.kernel.context.tally import ToolResultSeen
from kernelckpt.model.handle import (
    Collapsed,
    Handle,
    HandleKind,
    PagedOut,
    PageTier,
    Resident,
    SpooledOut,
)


def handle(number, residency, tokens=10, source=None, kind=HandleKind.TOOL_RESULT):
    return Handle(number, kind, residency, tokens, source)


def ten(pressure=0.0, spooled=()):
    return HandleTable.rebuild([ToolResultSeen(f"c{n}", 100) for n in range(10)], spooled, pressure)


def residency(table, source):
    return table.find_by_source(source).residency


def test_resident_tokens_counts_only_resident():
    paged, spooled = PagedOut(PageTier.DURABLE), SpooledOut("r")
    table = HandleTable([handle(0, Resident(), 1), handle(1, spooled, 2), handle(2, paged, 4)])
    table = table.insert(handle(3, Collapsed(), 8))
    assert table.resident_tokens == 1
    assert table.non_resident_tokens == 14


def test_insert_replaces_by_id():
    table = HandleTable([handle(0, Resident()), handle(1, Resident())])
    replaced = table.insert(handle(0, Collapsed(), 99))
    assert [(item.id, item.tokens) for item in replaced] == [(0, 99), (1, 10)]
    assert [item.id for item in replaced.insert(handle(7, Resident()))] == [0, 1, 7]
    assert table.all()[0].tokens == 10
    assert (len(replaced), replaced.next_id, HandleTable().next_id) == (2, 2, 0)


@pytest.mark.parametrize("where", [SpooledOut("r"), PagedOut(PageTier.SEMANTIC), Collapsed()])
def test_only_resident_occupies_context(where):
    assert handle(0, Resident()).occupies_context
    assert not handle(0, where).occupies_context


def test_find_by_source_gives_the_first():
    table = HandleTable(
        [handle(0, Resident()), handle(1, Resident(), source="c"), handle(2, Resident(), source="c")]
    )
    assert table.find_by_source("c").id == 1
    assert table.find_by_source("d") is None


def test_tool_result_is_indexed_resident_by_call_id():
    table = HandleTable.rebuild(seen(user(5), calling("c0"), answer("c0", 7)), (), 0.1)
    assert table.all() == (handle(0, Resident(), 7, "c0"),)


def test_plain_text_adds_no_handle():
    assert len(HandleTable.rebuild(seen(user(5), calling("c0")), (), 0.1)) == 0


def test_high_pressure_collapses_older_results_and_reverses():
    table = ten(0.95)
    assert residency(table, "c0") == Collapsed()
    assert [item.residency for item in table][5:] == [Collapsed(), *[Resident()] * 4]
    assert residency(table, "c9") == Resident()
    assert table.recompute(0.10) == ten()
    assert residency(table.recompute(0.10), "c0") == Resident()


@pytest.mark.parametrize(("pressure", "collapsed"), [(0.8999, 0), (0.90, 6), (1.5, 6)])
def test_ninety_percent_is_high_pressure(pressure, collapsed):
    table = ten().recompute(pressure)
    assert [item.residency for item in table].count(Collapsed()) == collapsed
    assert table.non_resident_tokens == 100 * collapsed


@pytest.mark.parametrize("results", [0, 3, 4])
def test_the_newest_four_never_collapse(results):
    table = HandleTable.rebuild([ToolResultSeen(f"c{n}", 100) for n in range(results)], (), 2.0)
    assert table.non_resident_tokens == 0


def test_spooled_survives_recompute_and_holds_its_position():
    table = ten(0.95, spooled={"c0", "c8"})
    assert residency(table, "c0") == SpooledOut("c0")
    assert residency(table, "c8") == SpooledOut("c8")
    assert [item.source for item in table if item.occupies_context] == ["c6", "c7", "c9"]
    assert residency(table.recompute(0.10), "c8") == SpooledOut("c8")


def test_other_kinds_are_neither_counted_nor_collapsed():
    page = handle(99, Resident(), kind=HandleKind.MEMORY_PAGE)
    pages = [handle(90 + n, Resident(), kind=HandleKind.KNOWLEDGE_ENTRY) for n in range(5)]
    table = HandleTable([page, *ten(), *pages]).recompute(0.95)
    assert table.all()[0] == page
    shown_short = handle(98, Collapsed(), kind=HandleKind.SPOOL_FILE)
    assert HandleTable([shown_short]).recompute(0.1).all() == (shown_short,)
    assert residency(table, "c6") == Resident()
    assert residency(table, "c5") == Collapsed()


def test_prune_drops_what_left_the_history():
    table = ten().insert(handle(50, Resident()))
    assert [item.source for item in table.prune({"c3", "c9"})] == ["c3", "c9", None]


def test_a_rebuilt_table_equals_the_one_it_was_before():
    results, table = [], HandleTable()
    for number in range(8):
        results += seen(*[calling(f"c{number}"), answer(f"c{number}", number)])
        found = SpooledOut(f"c{number}") if number == 3 else Resident()
        table = table.insert(handle(number, found, max(number, 1), f"c{number}")).recompute(number / 8)
    assert HandleTable.rebuild(results, {"c3"}, 7 / 8) == table
    assert hash(HandleTable.rebuild(results, {"c3"}, 7 / 8)) == hash(table)
    assert HandleTable.rebuild(results, {"c3"}, 0.9) == table.recompute(0.9) != table
