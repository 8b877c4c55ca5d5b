"""The archive's files: whole batches, torn ones, full disks."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prismq.domain.errors import QueueMaintenanceError
from prismq.domain.task import Task
from prismq.storage import archive
from prismq.storage.archive import ArchiveReader, ArchiveWriter, segments
from prismq.storage.contract import TaskStory
from tests.helpers.clock import FakeClock

DAY_S = 86_400.0


def stories(*ids: int, **columns: Any) -> Iterator[TaskStory]:
    for task_id in ids:
        task = Task(id=task_id, status="completed", **{"type": "job", **columns})
        yield TaskStory(task.to_dict(), [], [{"task_id": task_id, "message": f"line of {task_id}"}], [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def writer(folder: Path, clock: FakeClock) -> Iterator[ArchiveWriter]:
    writer = ArchiveWriter(folder, clock)
    yield writer
    writer.close()


def ids_in(folder: Path, **which: Any) -> list[int]:
    return [line["id"] for line in ArchiveReader(folder).newest(1000, **which)]


def test_what_was_written_is_read_back_the_last_first(writer: ArchiveWriter, folder: Path, clock: FakeClock) -> None:
    writer.append(stories(1, 2, payload='{"ž": "\\u2603"}'))
    writer.append(stories(3))
    assert ids_in(folder) == [3, 2, 1]
    line = ArchiveReader(folder).find(2)
    assert line is not None
    assert line["task"]["payload"] == '{"ž": "\\u2603"}'
    assert line["logs"] == [{"task_id": 2, "message": "line of 2"}]
    assert ArchiveReader(folder).find(4) is None
    assert ArchiveReader(folder).find(22) is None


def test_an_archive_is_plain_json_lines_in_gzip(writer: ArchiveWriter, folder: Path) -> None:
    writer.append(stories(1))
    writer.append(stories(2))
    writer.close()
    [path] = segments(folder)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        assert [json.loads(line)["id"] for line in file] == [1, 2]


def test_an_archive_that_is_not_there_is_empty(folder: Path) -> None:
    assert ids_in(folder) == []
    assert ArchiveReader(folder).find(1) is None


def test_archived_tasks_can_be_asked_for_by_type_and_status(writer: ArchiveWriter, folder: Path) -> None:
    writer.append(stories(1, 2))
    writer.append(stories(3, type="mail"))
    assert ids_in(folder, type_="mail") == [3]
    assert ids_in(folder, status=("failed",)) == []
    assert [line["id"] for line in ArchiveReader(folder).newest(2)] == [3, 2]


def test_a_task_that_was_written_twice_is_read_once_as_it_was_last(writer: ArchiveWriter, folder: Path) -> None:
    writer.append(stories(1, 2, type="old"))
    writer.append(stories(1, type="new"))
    writer.close()
    writer.append(stories(2, type="newest"))
    reader = ArchiveReader(folder)
    assert [(line["id"], line["task"]["type"]) for line in reader.newest(10)] == [(2, "newest"), (1, "new")]
    assert [reader.find(task_id)["task"]["type"] for task_id in (1, 2)] == ["new", "newest"]  # type: ignore[index]
    assert reader.torn == []


@pytest.mark.parametrize("cut", [1, 5, 9, 30, 60])
def test_a_batch_torn_by_a_crash_hides_no_whole_one_and_nobody_writes_behind_it(
    folder: Path, clock: FakeClock, cut: int
) -> None:
    dead = ArchiveWriter(folder, clock)
    dead.append(stories(1, 2))
    [path] = segments(folder)
    whole = path.stat().st_size
    dead.append(stories(3, 4))
    dead.close()
    with path.open("rb+") as file:
        file.truncate(min(whole + cut, path.stat().st_size - 1))

    resumed = ArchiveWriter(folder, clock)
    resumed.append(stories(3, 4))  # they were not deleted, so they come again
    resumed.close()
    reader = ArchiveReader(folder)
    assert sorted(line["id"] for line in reader.newest(10)) == [1, 2, 3, 4]
    assert [torn for torn, _ in reader.torn] == [path]
    assert len(segments(folder)) == 2


def test_a_batch_that_could_not_be_written_leaves_nothing_behind(writer: ArchiveWriter, folder: Path) -> None:
    writer.append(stories(1))
    [path] = segments(folder)
    before = path.read_bytes()

    def breaks() -> Iterator[TaskStory]:
        yield from stories(2)
        raise QueueMaintenanceError("the store went away")

    with pytest.raises(QueueMaintenanceError, match="went away"):
        writer.append(breaks())
    assert path.read_bytes() == before
    writer.append(stories(3))
    assert ids_in(folder) == [3, 1]


def test_a_full_disk_is_told_in_words_and_the_batch_comes_again(
    writer: ArchiveWriter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(stories(1))
    with monkeypatch.context() as full:

        def no_space(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(archive.os, "fsync", no_space)
        with pytest.raises(QueueMaintenanceError, match="No space left on device"):
            writer.append(stories(2))
    assert ids_in(folder) == [1]
    writer.append(stories(2))
    assert ids_in(folder) == [2, 1]


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(QueueMaintenanceError, match="archive_dir"):
        ArchiveWriter(tmp_path / "file" / "archive", clock).append(stories(1))


def test_a_file_does_not_grow_for_ever(
    writer: ArchiveWriter, folder: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(stories(1))
    clock.advance(DAY_S)
    writer.append(stories(2))
    assert len(segments(folder)) == 2
    monkeypatch.setattr(archive, "SEGMENT_BYTES_MAX", 10)
    writer.append(stories(3))
    assert len(segments(folder)) == 3
    assert ids_in(folder) == [3, 2, 1]


def test_the_order_of_the_files_outlives_a_clock_that_is_set_back(folder: Path, clock: FakeClock) -> None:
    for task_id in (1, 2):
        writer = ArchiveWriter(folder, clock)
        writer.append(stories(task_id, 9, type=f"t{task_id}"))
        writer.close()
        clock.jump(-30 * DAY_S)
    assert ArchiveReader(folder).find(9)["task"]["type"] == "t2"  # type: ignore[index]


def test_a_process_that_another_has_followed_begins_a_file_of_its_own(folder: Path, clock: FakeClock) -> None:
    first, second = ArchiveWriter(folder, clock), ArchiveWriter(folder, clock)
    first.append(stories(1, type="old"))
    second.append(stories(1, type="middle"))
    first.append(stories(1, type="last"))
    first.close()
    second.close()
    assert ArchiveReader(folder).find(1)["task"]["type"] == "last"  # type: ignore[index]
