"""Encode what was read as a tree: only nodes of folders that changed, and of those above them."""

from __future__ import annotations

from collections.abc import Iterator

from autocelery._snapshot import tree
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.collected import (
    ChunkedFile,
    ChunkedFiles,
    CollectedTree,
    Node,
    Sources,
    module_name,
)
from autocelery._snapshot.linked import withheld_links
from autocelery._snapshot.reading import SECRET, FileState
from autocelery._snapshot.stat_memory import TopMemory
from autocelery._snapshot.tree import EXECUTABLE, FILE, FOLDER, LINK, Entry
from autocelery.errors import EmptyTree

#: The kinds of a file's state that stand in a tree.
SHIPPED = frozenset({FILE, EXECUTABLE, LINK})
_DEVELOPMENT = frozenset({"tests", "test", "docs", "doc", "examples", "benchmarks"})
#: The first is what Django's startapp writes.
_NO_CODE_OF_TASKS = frozenset({"tests.py", "conftest.py", "setup.py", "noxfile.py"})
_PYTHON = (".py", ".so", ".pyd")


def encode_tree(base: str, known: TopMemory, dirty: set[str]) -> CollectedTree:
    """Return the tree of what is ``known``; the nodes of ``dirty`` folders are made anew.

    Raises:
        EmptyTree: nothing would be shipped.
        UnsafeSymlink: a link would not work on a worker.
    """
    reasons = {
        joined(folder, name): state.digest for folder, name, state in states_of(known) if state.kind == SECRET
    }
    withheld = list(reasons)
    hidden = withheld_links(base, known.files, frozenset(withheld))
    turned = {link.rpartition("/")[0] for link in hidden ^ known.hidden}
    known.hidden = hidden
    _encode_nodes(known, dirty | turned)
    root = known.nodes.get("")
    if root is None:
        raise EmptyTree(
            f"{base} has no file that would be shipped: it is empty, or .gitignore or "
            "tool.autocelery.exclude leaves everything out. Run it from the project's folder, or give that "
            "with --workdir."
        )
    shipped = [
        (folder, name, state) for folder, name, state in states_of(known) if state.kind in (FILE, EXECUTABLE)
    ]
    imports: set[str] = set()
    for folder, name, state in shipped:
        if not is_for_development(folder, name):
            imports.update(state.imports)
    return CollectedTree(
        digest=root.digest,
        size=root.size,
        files=root.files,
        # The deepest first: what is named goes before what names it.
        nodes={
            node.digest: node.raw
            for _, node in sorted(known.nodes.items(), key=lambda item: -item[0].count("/") - bool(item[0]))
            if node is not None
        },
        sources=Sources({state.digest: f"{base}/{joined(folder, name)}" for folder, name, state in shipped}),
        chunked=ChunkedFiles(
            {
                state.digest: ChunkedFile(f"{base}/{joined(folder, name)}", state.size, state.chunks.encode())
                for folder, name, state in shipped
                if state.chunks
            }
        ),
        imports=frozenset(imports),
        modules=_modules(known),
        withheld=tuple(sorted([*withheld, *hidden])),
        reasons={**dict.fromkeys(hidden, "what it leads to"), **reasons},
    )


def is_for_development(folder: str, name: str) -> bool:
    """Tell whether a file is one that no task imports: a test, a document's example, a build script.

    >>> is_for_development("tests/unit", "shop.py"), is_for_development("shop", "testing.py")
    (True, False)
    """
    return (
        name in _NO_CODE_OF_TASKS
        or name.startswith("test_")
        or name.endswith("_test.py")
        or not _DEVELOPMENT.isdisjoint(folder.split("/"))
    )


def _encode_nodes(known: TopMemory, dirty: set[str]) -> None:
    """Make the nodes of the dirty folders and of those above them, the deepest first."""
    below = _subfolders(known)
    known.nodes = {folder: node for folder, node in known.nodes.items() if folder in below}
    dirty = dirty | (below.keys() - known.nodes.keys())
    for folder in sorted(below, key=lambda path: (path.count("/") + bool(path), path), reverse=True):
        if folder not in dirty:
            continue
        before = known.nodes.get(folder)
        after = _node(folder, known, below[folder])
        known.nodes[folder] = after
        if folder and (before is None or after is None or before != after):
            dirty.add(folder.rpartition("/")[0])


def _node(folder: str, known: TopMemory, below: list[str]) -> Node | None:
    entries, files, holds_python, hidden = [], 0, False, known.hidden
    for name, state in known.files.get(folder, {}).items():
        if state.kind in SHIPPED and (not hidden or joined(folder, name) not in hidden):
            entries.append(entry_of(name, state))
            files += 1
            holds_python = holds_python or name.endswith(_PYTHON)
    for name in below:
        node = known.nodes.get(joined(folder, name))
        if node is not None:
            entries.append(Entry(name, FOLDER, node.size, node.digest))
            files += node.files
            holds_python = holds_python or node.holds_python
    if not entries:
        return None
    raw = tree.encode(entries)
    return Node(digest_of(raw), raw, sum(entry.size for entry in entries), files, holds_python)


def _subfolders(known: TopMemory) -> dict[str, list[str]]:
    """Return the names of the folders in each folder of the listing, and in those above them."""
    below: dict[str, list[str]] = {"": []}
    for folder in known.files:
        above = folder
        while above and above not in below:
            below[above] = []
            above = above.rpartition("/")[0]
    for folder in list(below):
        if folder:
            parent, _, name = folder.rpartition("/")
            below[parent].append(name)
    return below


def _modules(known: TopMemory) -> frozenset[str]:
    files = {module_name(name) for name, state in known.files.get("", {}).items() if state.kind in SHIPPED}
    folders = {
        folder
        for folder, node in known.nodes.items()
        if node is not None and node.holds_python and "/" not in folder and folder.isidentifier()
    }
    return frozenset({name for name in files if name} | folders)


def states_of(known: TopMemory) -> Iterator[tuple[str, str, FileState]]:
    """Yield (folder, name, state) of every file that was read, in the order of the listing."""
    assert known.listing is not None
    for folder, names in known.listing.names.items():
        states = known.files.get(folder, {})
        for name in names:
            if name in states:
                yield folder, name, states[name]


def entry_of(name: str, state: FileState) -> Entry:
    """Return the line of a node that a file in this state gives."""
    chunks = digest_of(state.chunks.encode()) if state.chunks else ""
    return Entry(name, state.kind, state.size, state.digest, chunks)


def joined(folder: str, name: str) -> str:
    """Return the path of ``name`` in ``folder``, both relative to the top."""
    return f"{folder}/{name}" if folder else name
