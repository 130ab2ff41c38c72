"""Builds test collections from the texts of Debian packages, in BEIR's layout.

python tests/benchmarks/corpora.py FOLDER [NAME...]

Each collection is a folder with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``. The packages come from
``apt-get download`` on Debian 12, in the versions of `SOURCES`, and their checksums are verified. The same packages
give the same files: every choice comes from a seed.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import json
import random
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.package_texts import (
    Synset,
    control_fields,
    dictionary,
    manual_page,
    mask,
    pieces,
    pod_sections,
    squash,
    synset,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Packages: TypeAlias = Callable[[str], Path]
"""Returns the folder with the files of a package."""

SHARE: Final = "usr/share"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A package, and the license of its texts."""

    registry: Literal["Debian", "PyPI"]
    version: str
    sha256: str
    license: str


SOURCES: Final = {
    "dict-foldoc": Source(
        registry="Debian",
        version="20230119-1",
        sha256="745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3",
        license="GFDL-1.1+",
    ),
    "manpages": Source(
        registry="Debian",
        version="6.03-2",
        sha256="efa1ba4cd19ad7baeae959c9209a7eb74be2ebb858bcabb412597bfc9f588c91",
        license="a free license in each page",
    ),
    "manpages-dev": Source(
        registry="Debian",
        version="6.03-2",
        sha256="96f55cb5e26231d5567c89b692bced63825a14a2d5bd18fdf16ea2ed44eb9838",
        license="a free license in each page",
    ),
    "perl-doc": Source(
        registry="Debian",
        version="5.36.0-7+deb12u3",
        sha256="e9e3564ff5ade27de0585835f2acad769bcc545c0a0045a9f55d5401f27f7591",
        license="Artistic or GPL-1+",
    ),
    "lintian": Source(
        registry="Debian",
        version="2.116.3+deb12u1",
        sha256="c4f65b67b22f94b255fcfcb8c5154011afddea1e9d8c941d28e2285375badddc",
        license="GPL-2+",
    ),
    "wordnet-base": Source(
        registry="Debian",
        version="1:3.0-37",
        sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        license="WordNet",
    ),
    "networkx": Source(
        registry="PyPI",
        version="3.4.2",
        sha256="df5d4365b724cf81b8c6a7312509d0c22386097011ad1abe274afd5e9d3bbc5f",
        license="BSD-3-Clause",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Texts and judgments: which documents are relevant for which query."""

    documents: dict[str, str] = field(default_factory=dict)
    queries: dict[str, str] = field(default_factory=dict)
    relevant: dict[str, list[str]] = field(default_factory=dict)

    def add(self, key: str, query: str | None, text: str) -> None:
        """One document, and the query that it answers, if any."""
        self.documents[key] = text
        if query:
            self.queries[key] = query
            self.relevant[key] = [key]

    def __str__(self) -> str:
        """Counts and mean lengths in words."""

        def words(texts: dict[str, str]) -> float:
            return sum(len(text.split()) for text in texts.values()) / len(texts)

        relevant = sum(map(len, self.relevant.values())) / len(self.relevant)
        return (
            f"{len(self.documents):,} documents of {words(self.documents):.0f} words, "
            f"{len(self.queries)} queries of {words(self.queries):.1f} words, {relevant:.1f} relevant"
        )

    def sample(self, *, documents: int = 3000, queries: int = 300, seed: int = 7) -> Collection:
        """Some of the queries, their relevant documents, and other documents up to a number."""
        draw = random.Random(seed)
        asked = sorted(query for query in self.queries if self.relevant.get(query))
        draw.shuffle(asked)
        asked = sorted(asked[:queries])
        needed = {key for query in asked for key in self.relevant[query]}
        others = sorted(set(self.documents) - needed)
        draw.shuffle(others)
        kept = sorted([*needed, *others[: max(0, documents - len(needed))]])
        return Collection(
            documents={key: self.documents[key] for key in kept},
            queries={query: self.queries[query] for query in asked},
            relevant={query: self.relevant[query] for query in asked},
        )

    def without_near_duplicates(self) -> Collection:
        """The same without documents that share most of their word triples with an earlier one."""
        kept: dict[str, str] = {}
        triples: dict[str, set[tuple[str, ...]]] = {}
        having: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for key, text in sorted(self.documents.items()):
            words = text.lower().split()
            mine: set[tuple[str, ...]] = set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}
            shared: defaultdict[str, int] = defaultdict(int)
            for triple in mine:
                for other in having[triple]:
                    shared[other] += 1
            if any(both > 0.5 * min(len(mine), len(triples[other])) for other, both in shared.items()):
                continue
            kept[key], triples[key] = text, mine
            for triple in mine:
                having[triple].append(key)
        relevant = {query: [key for key in keys if key in kept] for query, keys in self.relevant.items()}
        return Collection(documents=kept, queries=self.queries, relevant=relevant)


def manpages(package: Packages) -> Collection:
    """A manual page's one-line name as the query, and the pieces of its description."""
    pages = [page for name in ("manpages", "manpages-dev") for page in (package(name) / SHARE / "man").rglob("*.gz")]
    whole = Collection()
    for page in sorted(pages, key=lambda page: page.name):
        if page.is_symlink():
            continue
        sections = manual_page(gzip.decompress(page.read_bytes()).decode("utf8", "replace"))
        names, _, query = sections.get("NAME", "").partition(" - ")
        body = " ".join(sections.get(name, "") for name in ("DESCRIPTION", "RETURN VALUE", "NOTES"))
        for name in re.split(r"[,\s]+", names):
            body = mask(body, name)
        if len(query.split()) >= 3:
            whole.add(page.stem, query if query not in whole.queries.values() else None, body)
    found = Collection(queries=whole.queries)
    for key, text in whole.without_near_duplicates().documents.items():
        found.relevant[key] = [f"{key}-{number}" for number, _ in enumerate(pieces(text))]
        found.documents.update(zip(found.relevant[key], pieces(text), strict=True))
    return found.without_near_duplicates().sample()


def perl_pages(package: Packages) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The pages of Perl's manual with their sections, without indexes and histories of releases."""
    for page in sorted((package("perl-doc") / SHARE / "perl").glob("*/pod/*.pod")):
        if not re.match(r"perl(5\d|delta|toc|hist|diag|modlib|api)", page.stem):
            yield page.stem, pod_sections(page.read_text("utf8", "replace"))


def perlfaq(package: Packages) -> Collection:
    """A question of Perl's FAQ and its answer, among the sections of Perl's manual."""
    found = Collection()
    for page, sections in perl_pages(package):
        for number, (head, body) in enumerate(sections):
            if len(body.split()) >= (20 if page.startswith("perlfaq") else 40):
                question = head if page.startswith("perlfaq") and head.endswith("?") else None
                found.add(f"{page}-{number}", question, body)
    return found.without_near_duplicates().sample()


def halves(package: Packages) -> Collection:
    """The second half of a section of Perl's manual as the query, and its first half."""
    found = Collection()
    for page, sections in perl_pages(package):
        for number, (_, body) in enumerate(sections):
            words = body.split()[:400]
            if len(words) >= 160:
                half = len(words) // 2
                found.add(f"{page}-{number}", " ".join(words[half:]), " ".join(words[:half]))
    return found.without_near_duplicates().sample()


def lintian(package: Packages) -> Collection:
    """The name of a check of packages as the query, in words, and its explanation."""
    found = Collection()
    for file in sorted((package("lintian") / SHARE / "lintian/tags").rglob("*.tag")):
        fields = control_fields(file.read_text("utf8"))
        text = squash(re.sub(r"<[^>]*>", "", fields.get("Explanation", "")))
        if len(text.split()) >= 12 and not fields["Tag"].startswith("renamed"):
            found.add(fields["Tag"], fields["Tag"].replace("-", " "), text)
    return found.without_near_duplicates().sample()


def docstrings(package: Packages) -> Collection:
    """The first paragraph of a docstring of NetworkX as the query, and the rest."""
    found = Collection()
    library = package("networkx") / "networkx"
    for file in sorted(library.rglob("*.py")):
        module = ".".join(file.relative_to(library).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text("utf8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
                if len(first.split()) >= 4 and len(rest.split()) >= 12:
                    query = None if squash(first) in found.queries.values() else squash(first)
                    found.add(f"{module}.{node.name}:{node.lineno}", query, squash(rest))
    return found.without_near_duplicates().sample()


def foldoc(package: Packages) -> Collection:
    """The name of an entry of the dictionary of computing as the query, and the entry without it."""
    found = Collection()
    for number, entry in enumerate(dictionary(package("dict-foldoc") / SHARE / "dictd", "foldoc")):
        head, _, body = entry.partition("\n")
        head, body = head.strip(), squash(body.replace("{", "").replace("}", ""))
        body = mask(squash(re.sub(r"<[^>]*>|\(\d{4}-\d\d-\d\d\)", " ", body)), head)
        if len(body.split()) >= 30 and 1 <= len(head.split()) <= 4:
            found.add(f"d{number}", head if len(body.split()) >= 40 and len(head.split()) >= 2 else None, body)
    return found.sample()


def wordnet(package: Packages) -> dict[str, Synset]:
    """The concepts of WordNet by part of speech and offset."""
    found = {}
    for part in ("noun", "verb", "adj", "adv"):
        text = (package("wordnet-base") / SHARE / f"wordnet/data.{part}").read_text("latin1")
        found.update(
            {part[0] + line.split()[0]: synset(line) for line in text.splitlines() if not line.startswith("  ")}
        )
    return found


def hyponyms(package: Packages) -> Collection:
    """The definition of a concept as the query, and the definitions of its kinds: few words in common."""
    nouns = {key: concept for key, concept in wordnet(package).items() if key[0] == "n"}
    described = {key: concept.definition for key, concept in nouns.items() if len(concept.definition.split()) >= 6}
    asked = [
        key for key in sorted(described) if 3 <= len([kind for kind in nouns[key].kinds if kind in described]) <= 12
    ]
    random.Random(5).shuffle(asked)
    queries = {key: described.pop(key) for key in asked[:300]}
    relevant = {key: [kind for kind in nouns[key].kinds if kind in described] for key in queries}
    return (
        Collection(documents=described, queries=queries, relevant=relevant).sample().without_near_duplicates().sample()
    )


def glosses(package: Packages) -> Collection:
    """An example sentence as the query, and the word sense that it illustrates, among other senses of its words."""
    concepts = {key: concept for key, concept in wordnet(package).items() if len(concept.definition.split()) >= 5}
    texts = {key: f"{', '.join(concept.words)}: {concept.definition}" for key, concept in concepts.items()}
    sentences = {
        key: concept.examples[0]
        for key, concept in concepts.items()
        if concept.examples and len(concept.examples[0].split()) >= 6
    }
    draw = random.Random(3)
    asked = sorted(draw.sample(sorted(sentences), 1500))
    pool = {*asked, *draw.sample(sorted(texts), 2500)}
    words = {word.lower() for key in asked[:400] for word in concepts[key].words}
    pool |= {key for key, concept in concepts.items() if words & {word.lower() for word in concept.words}}
    found = Collection()
    for key in pool:
        found.add(key, sentences[key] if key in asked[:400] else None, texts[key])
    return found.sample(documents=4000)


BUILDERS: Final[dict[str, Callable[[Packages], Collection]]] = {
    build.__name__: build for build in (foldoc, manpages, hyponyms, halves, perlfaq, lintian, glosses, docstrings)
}
"""All collections. Parameters may be chosen on the first four. The others only confirm them."""


def write(collection: Collection, folder: Path) -> None:
    """Write a collection in BEIR's layout, completely or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        new = Path(temporary, folder.name)
        (new / "qrels").mkdir(parents=True)
        documents = [{"_id": key, "title": "", "text": text} for key, text in collection.documents.items()]
        queries = [{"_id": key, "text": text} for key, text in collection.queries.items()]
        judged = [f"{query}\t{key}\t1" for query, keys in collection.relevant.items() for key in keys]
        (new / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in documents))
        (new / "queries.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in queries))
        (new / "qrels/test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged, ""]))
        new.rename(folder)


def unpacked(name: str, folder: Path) -> Path:
    """The folder with the files of a package, which is downloaded and verified if it is not there."""
    source, files = SOURCES[name], folder / name
    if files.exists():
        return files
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        if source.registry == "Debian":
            command = ["apt-get", "download", f"{name}={source.version}"]
        else:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", f"{name}=={source.version}"]
        result = subprocess.run(command, cwd=temporary, capture_output=True, text=True, check=False)
        archive = next(Path(temporary).iterdir(), None)
        if result.returncode or archive is None:
            raise SystemExit(
                f"cannot download {name} {source.version}: {result.stderr.strip()}\n"
                "Check the network. Debian's packages need Debian 12, and `apt-get update` first."
            )
        verified(archive, source.sha256)
        new = Path(temporary, "files")
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(new)
        else:
            subprocess.run(["dpkg-deb", "--extract", archive, new], check=True)
        new.rename(files)
    return files


def verified(archive: Path, sha256: str) -> None:
    """Exit if a file is not the one that has this checksum."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise SystemExit(f"{archive.name} has the SHA-256 {found} instead of {sha256}: do not use it")


def main() -> None:
    """Build the collections that are not in the folder yet, and describe each."""
    options = _options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.packages or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.names or BUILDERS:
            used: dict[str, Source] = {}

            def package(wanted: str, used: dict[str, Source] = used) -> Path:
                used[wanted] = SOURCES[wanted]
                return unpacked(wanted, folder)

            if not (options.folder / name).exists():
                collection = BUILDERS[name](package)
                write(collection, options.folder / name)
                origins = "; ".join(f"{each} {source.version}, {source.license}" for each, source in used.items())
                print(f"{name}: {collection}, from {origins}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the collections are written")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default: {', '.join(BUILDERS)}")
    parser.add_argument("--packages", type=Path, help="keep the files of the packages here for the next run")
    options = parser.parse_args()
    unknown = ", ".join(sorted(set(options.names) - set(BUILDERS)))
    if unknown:
        parser.error(f"there is no collection {unknown}: choose of {', '.join(BUILDERS)}")
    return options


if __name__ == "__main__":
    main()
