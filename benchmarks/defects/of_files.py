"""Defects of files: needed and not shipped, not there, not what they seem, or impossible to ship."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.defects.seeding import Defect, Seeding

_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d" * 32 + "\nsize 734003200\n"


def _ignored_by_name(project: Seeding) -> None:
    project.ignore("*.csv")
    project.write("data/rates.csv", "1\n")
    project.task("""
        with open("data/rates.csv") as file:
            return file.read()
        """)


def _ignored_beside_the_code(project: Seeding) -> None:
    project.ignore("*.pkl")
    project.write("proj/model.pkl", b"\x80\x04N.")
    project.add("proj/rates.py", 'from pathlib import Path\nMODEL = Path(__file__).parent / "model.pkl"\n')
    project.task("import pickle\nfrom proj import rates\nreturn pickle.loads(rates.MODEL.read_bytes())")


def _ignored_resource(project: Seeding) -> None:
    project.ignore("*.json")
    project.write("proj/table.json", "{}")
    project.task("""
        from importlib import resources
        return resources.files("proj").joinpath("table.json").read_text()
        """)


def _left_out_by_exclude(project: Seeding) -> None:
    project.write("proj/words.txt", "a\n")
    project.add("pyproject.toml", '[tool.autocelery]\nexclude = ["**/*.txt"]\n')
    project.task("""
        import os
        return open(os.path.join(os.path.dirname(__file__), "words.txt")).read()
        """)


def _no_such_file(project: Seeding) -> None:
    project.task('return open("data/hollidays.csv").read()')


def _absolute_path(project: Seeding) -> None:
    project.task('return open("/home/ann/prices.csv").read()')


def _secret(project: Seeding) -> None:
    project.write(".env", "TOKEN=1\n")
    project.task('return open(".env").read()')


def _lfs_pointer(project: Seeding) -> None:
    project.write("data/weights.bin", _POINTER)
    project.task('return len(open("data/weights.bin", "rb").read())')


def _submodule(project: Seeding) -> None:
    other = project.folder / "geo"
    other.mkdir()
    project.git("init", "-q", where=other)
    (other / "geo.py").write_text("def here():\n    return 0\n")
    project.git("add", "-A", where=other)
    project.git("commit", "-q", "-m", "geo", where=other)
    project.git("submodule", "--quiet", "add", str(other), "libs/geo")
    project.git("submodule", "--quiet", "deinit", "-f", "libs/geo")


def _include_of_nothing(project: Seeding) -> None:
    project.ignore("/local/")
    project.write("local/holidays.csv", "1\n")
    project.add("pyproject.toml", '[tool.autocelery]\ninclude = ["local/holiday.csv"]\n')


def _writes_into_the_tree(project: Seeding) -> None:
    project.task('open("data/report.csv", "w").write("1")')


def _too_large(project: Seeding) -> None:
    with project.write("data/dump.bin", b"").open("wb") as file:
        file.truncate(3 * 2**30)  # nothing but holes


def _link(target: str) -> Callable[[Seeding], None]:
    def seed(project: Seeding) -> None:
        (project.top / "data" / "latest.csv").symlink_to(target)

    return seed


def _extension_of_another_python(project: Seeding) -> None:
    project.write(".gitignore", "__pycache__/\n")
    project.write("proj/_fast.cpython-39-x86_64-linux-gnu.so", b"\x7fELF")
    project.task("from proj import _fast\nreturn _fast.run()")


DEFECTS = (
    Defect("a file that git ignores, opened by name", _ignored_by_name, ("data/rates.csv", "include")),
    Defect(
        "a file that git ignores, beside the module", _ignored_beside_the_code, ("proj/model.pkl", "include")
    ),
    Defect("a package's resource that git ignores", _ignored_resource, ("proj/table.json", "include")),
    Defect("a file that exclude leaves out, opened", _left_out_by_exclude, ("proj/words.txt", "exclude")),
    Defect("a file that is not there", _no_such_file, ("data/hollidays.csv",), "warning"),
    Defect("a path of this machine only", _absolute_path, ("/home/ann/prices.csv",), "warning"),
    Defect("a secret that a task opens", _secret, (".env", "include")),
    Defect("a pointer of git lfs in place of the data", _lfs_pointer, ("data/weights.bin", "git lfs pull")),
    Defect(
        "a submodule that is not checked out", _submodule, ("libs/geo", "git submodule update"), "warning"
    ),
    Defect("an include that matches nothing", _include_of_nothing, ("local/holiday.csv",), "warning"),
    Defect("a file written into the read-only tree", _writes_into_the_tree, ("data/report.csv",), "warning"),
    Defect("a tree over the limit", _too_large, ("data/dump.bin", "exclude"), "refused"),
    Defect(
        "a link that leaves the tree", _link("../../shared.csv"), ("data/latest.csv", "leaves"), "refused"
    ),
    Defect(
        "an extension module for another Python", _extension_of_another_python, ("proj/_fast.cpython-39",)
    ),
)
