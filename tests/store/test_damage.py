"""Results that are torn, foreign or of a newer version end in a clear fault, and nothing of them is touched."""

import sqlite3

import pytest

from initscope.base.errors import EnvironmentFault
from initscope.store import schema
from initscope.store.folder import open_folder, read_folder
from tests.store.material import assert_same_bits, ensemble, new_folder

OPENINGS = pytest.mark.parametrize("opening", [lambda path: open_folder(path, create=True), read_folder])
PARTS = ("results.db", "weights")


def fault(action) -> str:
    with pytest.raises(EnvironmentFault) as caught:
        action()
    assert caught.value.exit_code == 4
    return str(caught.value)


def damage(path, found) -> str:
    return (
        "the stored results cannot be read\n"
        f"  where: {path}\n"
        f"  got:   {found}\n"
        "  legal: a whole file written by initscope\n"
        "  do:    put back a copy of it, or move its folder away and run the study again; "
        "nothing was changed or deleted"
    )


@pytest.fixture
def out(tmp_path):
    with new_folder(tmp_path / "out", "default", "all-zero") as folder:
        folder.save_ensemble(*ensemble(("default", "all-zero"), range(8)))
    return tmp_path / "out"


def change(out, *statements) -> None:
    connection = sqlite3.connect(out / "results.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@OPENINGS
@pytest.mark.parametrize(
    ("length", "found"),
    [(0, "an empty file"), (5, "a file cut off after 5 bytes"), (50, "a file cut off after 50 bytes"),
     (5000, "a file cut off after 5000 bytes"), (-4096, None), (-1, None)],
)  # fmt: skip
def test_a_database_cut_off_anywhere_is_a_fault_and_is_left_as_it_is(out, opening, length, found):
    rest = (out / "results.db").read_bytes()[:length]
    (out / "results.db").write_bytes(rest)
    expected = damage(out / "results.db", found or f"a file cut off after {len(rest)} bytes")
    assert fault(lambda: opening(out)) == expected
    assert (out / "results.db").read_bytes() == rest


def read_and_close(out) -> None:
    with read_folder(out) as folder:
        folder.runs()


def test_a_cut_beside_a_log_of_a_killed_writer_is_noticed_at_opening_or_reading(out):
    with open_folder(out, create=True) as folder:
        folder.save_ensemble(*ensemble(("default",), range(8, 9)))
        database, log = ((out / name).read_bytes() for name in ("results.db", "results.db-wal"))
    for length in range(4096, len(database), 4096):
        (out / "results.db").write_bytes(database[:length])
        (out / "results.db-wal").write_bytes(log)
        (out / "results.db-shm").unlink(missing_ok=True)
        fault(lambda: read_and_close(out))
        assert (out / "results.db").read_bytes() == database[:length]


@OPENINGS
def test_a_file_that_is_no_database_is_a_fault(out, opening):
    (out / "results.db").write_text("a letter to my aunt " * 400)
    assert fault(lambda: opening(out)) == damage(out / "results.db", "not a database")


@OPENINGS
def test_a_database_of_another_program_is_a_fault_and_is_left_as_it_is(tmp_path, opening):
    connection = sqlite3.connect(tmp_path / "results.db")
    connection.execute("CREATE TABLE recipes (name)")
    connection.close()
    before = (tmp_path / "results.db").read_bytes()
    assert fault(lambda: opening(tmp_path)) == damage(tmp_path / "results.db", "a database of another program")
    assert (tmp_path / "results.db").read_bytes() == before


@OPENINGS
def test_a_newer_version_is_refused_with_both_numbers(out, opening):
    change(out, "PRAGMA user_version = 7")
    assert fault(lambda: opening(out)) == (
        "these results were written by a newer initscope\n"
        f"  where: {out}/results.db\n"
        "  got:   schema version 7\n"
        "  legal: schema version 2 or older\n"
        "  do:    update initscope, or choose another folder with --out; nothing was changed or deleted"
    )


def test_a_page_overwritten_in_the_middle_is_noticed_before_anything_is_written(out):
    content = bytearray((out / "results.db").read_bytes())
    content[3 * 4096 : 6 * 4096] = b"\xa5" * (3 * 4096)
    (out / "results.db").write_bytes(content)
    assert fault(lambda: open_folder(out, create=True)).startswith("the stored results cannot be read\n")
    assert (out / "results.db").read_bytes() == content


def test_a_log_without_its_database_is_a_fault_because_it_would_spoil_a_new_one(tmp_path):
    (tmp_path / "results.db-wal").write_bytes(b"log")
    found = "results.db-wal without results.db"
    assert fault(lambda: open_folder(tmp_path, create=True)) == damage(tmp_path / "results.db", found)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE runs SET class_shares = '[0.1' WHERE seed = 3 AND condition = 'default'",
         "run 'default', seed 3: Expecting ',' delimiter: line 1 column 5 (char 4)"),
        ("DELETE FROM history WHERE seed = 3 AND condition = 'default' AND epoch = 1",
         "run 'default', seed 3: epochs are missing from its history"),
        ("UPDATE history SET train_loss = 'much' WHERE seed = 3 AND condition = 'default' AND epoch = 1",
         "run 'default', seed 3: could not convert string to float: 'much'"),
        ("UPDATE probes SET names = replace(names, '[64,', '[1, 64,') WHERE seed = 3 AND condition = 'default'",
         "run 'default', seed 3: probes: steps is not a list, or units and layers differ in number"),
        ("DROP TABLE probes", "no such table: probes"),
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_a_fault_that_names_the_run(out, statement, found):
    change(out, statement)
    with read_folder(out) as folder:
        assert fault(folder.runs) == damage(out / "results.db", found)


def test_probes_whose_bytes_are_cut_off_are_a_fault_that_names_the_run(out):
    change(out, "UPDATE probes SET arrays = substr(arrays, 1, 200) WHERE seed = 3 AND condition = 'default'")
    with read_folder(out) as folder:
        assert "  got:   run 'default', seed 3: " in fault(folder.runs)


def test_a_torn_weight_file_is_a_fault_that_names_the_file(out):
    path = out / "weights" / "default" / "seed-0003.safetensors"
    path.write_bytes(path.read_bytes()[:60])
    with read_folder(out) as folder:
        message = fault(lambda: folder.weights("default", 3, "hidden1.weight", "final"))
        assert message.startswith(f"the stored results cannot be read\n  where: {path}\n")
        assert folder.weights("default", 2, "hidden1.weight", "final") is not None


LATER = schema.Migration(name="0002-notes", statements=("CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('x')"))


@OPENINGS
def test_an_older_version_is_migrated_and_keeps_its_runs(out, monkeypatch, opening):
    with read_folder(out) as folder:
        before = folder.runs()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, LATER))
    with opening(out) as folder:
        assert_same_bits(folder.runs(), before)
    connection = sqlite3.connect(out / "results.db")
    assert connection.execute("SELECT text FROM notes").fetchall() == [("x",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


def test_a_migration_that_fails_leaves_the_older_version_whole(out, monkeypatch):
    broken = schema.Migration(name="0002-broken", statements=("CREATE TABLE notes (text)", "NOT SQL"))
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        fault(lambda: open_folder(out, create=True))
    with open_folder(out, create=True) as folder:
        assert len(folder.runs()) == 16


def test_migrations_are_named_in_order():
    assert [migration.name[:4] for migration in schema.MIGRATIONS] == [
        f"{number:04d}" for number in range(1, len(schema.MIGRATIONS) + 1)
    ]
