"""The rows of an SQLite storage as a deletion sees them: the run's own row may be damaged."""

from __future__ import annotations

from typing_extensions import override

from kernelckpt.storage.sqlite.row import Rows, RunRow
from kernelckpt.storage.text import text_bytes

_UNKNOWN = -1


class DoomedRows(Rows):
    """Finds and deletes a run whatever its row says. Of a damaged one no number is believed."""

    @override
    def find_run(self, run_id: str) -> RunRow | None:
        row = self._row("SELECT * FROM runs WHERE id = ?", text_bytes(run_id))
        if row is None or self.is_sound(row):
            return super().find_run(run_id)
        owner, holder = row[8:10]
        return RunRow(
            row[0],
            _UNKNOWN,
            owner=owner if isinstance(owner, int) else 0,
            holder=holder if isinstance(holder, bytes) else b"",
        )

    @override
    def delete_run(self, run: RunRow) -> None:
        super().delete_run(run)
        if run.number == _UNKNOWN:
            self._delete_ownerless()

    def _delete_ownerless(self) -> None:
        """Remove what belongs to no run; nothing while another run is damaged, for it may be that one's."""
        if not all(map(self.is_sound, self._db.execute("SELECT * FROM runs"))):
            return
        for statement in (
            "DELETE FROM entries WHERE run NOT IN (SELECT number FROM runs)",
            "DELETE FROM blobs WHERE run NOT IN (SELECT number FROM runs)",
            "DELETE FROM pieces WHERE run NOT IN (SELECT number FROM runs)",
            "DELETE FROM inbox WHERE run NOT IN (SELECT number FROM runs)",
        ):
            self._db.execute(statement)
