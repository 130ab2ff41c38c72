"""The script that builds test collections from packages: formats, sampling and files. No test needs a network."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from colbert_qdrant import RetrievalDataset
from tests.benchmarks import corpora
from tests.benchmarks.corpora import BUILDERS, SOURCES, Collection, unpacked, verified, write
from tests.benchmarks.package_texts import (
    control_fields,
    dictionary,
    manual_page,
    mask,
    pieces,
    pod_sections,
    pod_text,
    synset,
)

ROOT = Path(__file__).parents[2]


def test_a_manual_page_loses_its_markup_and_keeps_its_words() -> None:
    page = r""".TH demo 3
.\" a comment
.SH NAME
demo, demo2 \- shows a thing
.SH DESCRIPTION
The function
.BR demo ()
returns \fInothing\fP for
.I size
bytes.
.PP
It uses \-1.
"""
    assert manual_page(page) == {
        "NAME": "demo, demo2 - shows a thing",
        "DESCRIPTION": "The function demo () returns nothing for size bytes. It uses -1.",
    }


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("use B<bold I<words>> here", "use bold words here"),
        ("see L<the page|perlop/Names> and L<perlre>", "see the page and perlre"),
        ("C<< $a <=> $b >> sorts", "$a <=> $b sorts"),
        ("E<lt>aE<gt>X<index entry>", "<a>"),
    ],
)
def test_codes_of_perl_documentation_become_plain_text(text: str, plain: str) -> None:
    assert pod_text(text) == plain


def test_a_page_of_perl_documentation_is_cut_at_headings_and_items() -> None:
    page = "=pod\n\n=head1 First\n\nSome text.\n\n=over 4\n\n=item Second?\n\nAn answer.\n\n=back\n\n=cut\n"
    assert pod_sections(page) == [("First", "Some text."), ("Second?", "An answer.")]


def test_fields_of_a_control_file_join_their_lines() -> None:
    text = "Tag: binary-in-etc\nExplanation: It is\n installed there.\n .\n Move it.\nSee-Also: policy\n"
    assert control_fields(text) == {
        "Tag": "binary-in-etc",
        "Explanation": "It is installed there. Move it.",
        "See-Also": "policy",
    }


def test_a_dictionary_is_read_by_its_index(tmp_path: Path) -> None:
    entries = ["about\n", "alpha\n  the first\n", "beta\n" + "  long " * 20 + "\n"]
    (tmp_path / "toy.dict.dz").write_bytes(gzip.compress("".join(entries).encode()))
    # Numbers are in base 64 with A as zero: 6 is G, 18 is S, 24 is Y, and 146 is CS.
    (tmp_path / "toy.index").write_text("00-database\tA\tG\nalpha\tG\tS\nbeta\tY\tCS\nfirst\tG\tS\n")
    assert dictionary(tmp_path, "toy") == entries[1:]


def test_a_concept_of_wordnet() -> None:
    line = (
        "00021939 03 n 02 artifact 0 arte_fact(p) 0 002 @ 00003553 n 0000 ~ 00022903 n 0000 "
        '| a man-made object; taken as a whole; "the artifact broke in two"'
    )
    concept = synset(line)
    assert concept.words == ["artifact", "arte fact"]
    assert concept.definition == "a man-made object; taken as a whole"
    assert concept.examples == ["the artifact broke in two"]
    assert concept.kinds == ["n00022903"]


def test_a_masked_name_is_gone_from_its_text_but_not_from_other_words() -> None:
    assert mask("A Flip-Flop has states; flip flops flipper", "flip-flop") == "A has states; flipper"
    assert mask("nothing changes", "++") == "nothing changes"


def test_pieces_keep_all_words_but_a_short_end() -> None:
    text = " ".join(map(str, range(25)))
    assert pieces(text, words=10, least=5) == [
        "0 1 2 3 4 5 6 7 8 9",
        "10 11 12 13 14 15 16 17 18 19",
        "20 21 22 23 24",
    ]
    assert len(pieces(text, words=10, least=6)) == 2


def toy() -> Collection:
    found = Collection()
    for number in range(20):
        found.add(f"d{number}", f"query {number}" if number < 10 else None, f"document number {number} of all")
    return found


def test_a_sample_is_the_same_each_time_and_has_the_relevant_documents() -> None:
    sample = toy().sample(documents=8, queries=5)
    assert sample == toy().sample(documents=8, queries=5)
    assert sample != toy().sample(documents=8, queries=5, seed=8)
    assert (len(sample.documents), len(sample.queries)) == (8, 5)
    assert {key for keys in sample.relevant.values() for key in keys} <= set(sample.documents)


def test_near_duplicates_are_left_out_with_their_judgments() -> None:
    found = Collection()
    found.add("a", "first", "one two three four five six seven")
    found.add("b", "second", "one two three four five six eight")
    found.add("c", "third", "seven six five four three two one")
    kept = found.without_near_duplicates()
    assert sorted(kept.documents) == ["a", "c"]
    assert kept.relevant == {"a": ["a"], "b": [], "c": ["c"]}
    assert sorted(kept.sample().queries) == ["a", "c"]


def test_a_written_collection_is_one_that_the_library_loads(tmp_path: Path) -> None:
    write(toy().sample(documents=8, queries=5), tmp_path / "toy")
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    loaded = RetrievalDataset.load(tmp_path / "toy")
    expected = toy().sample(documents=8, queries=5)
    assert {document.id: document.text for document in loaded.documents or ()} == expected.documents
    assert dict(loaded.queries) == expected.queries
    assert {query: list(judged) for query, judged in loaded.qrels.items()} == expected.relevant


def test_every_builder_reads_packages_of_the_list(tmp_path: Path) -> None:
    asked: list[str] = []

    def package(name: str) -> Path:
        asked.append(name)
        raise LookupError

    for build in BUILDERS.values():
        with pytest.raises(LookupError):
            build(package)
    assert set(asked) <= set(SOURCES)
    assert len(asked) == len(BUILDERS)


def test_docstrings_are_split_after_their_first_paragraph(tmp_path: Path) -> None:
    rest = " ".join(f"word{number}" for number in range(12))
    doc = f"Return the shortest of\n    all paths.\n\n    {rest}\n    "
    code = f'def f():\n    """{doc}"""\n\ndef g():\n    """Short."""\n'
    (tmp_path / "networkx").mkdir()
    (tmp_path / "networkx/paths.py").write_text(code)
    found = BUILDERS["docstrings"](lambda _: tmp_path)
    assert found.queries == {"paths.f:1": "Return the shortest of all paths."}
    assert found.documents == {"paths.f:1": rest}


def test_another_file_than_the_expected_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(b"other")
    with pytest.raises(SystemExit, match=r"x\.deb has the SHA-256 d9298a10.* instead of 00"):
        verified(tmp_path / "x.deb", "00")


def test_a_package_that_cannot_be_downloaded_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = tmp_path / "bin/apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho 'E: Temporary failure resolving' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apt.parent}:/usr/bin:/bin")
    (tmp_path / "kept").mkdir()
    with pytest.raises(SystemExit, match=r"cannot download lintian 2\.\d.*Temporary failure[^$]*apt-get update"):
        unpacked("lintian", tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_a_collection_that_does_not_exist_is_an_error_before_anything_is_built(tmp_path: Path) -> None:
    command = [sys.executable, corpora.__file__, str(tmp_path / "out"), "foldoc", "scifact"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 2
    assert "there is no collection scifact: choose of foldoc, manpages" in result.stderr
    assert not (tmp_path / "out").exists()


def test_queries_are_lines_of_json(tmp_path: Path) -> None:
    found = Collection()
    found.add("d", 'a "quoted" question', "an answer — with a dash\u2028and a separator")
    write(found, tmp_path / "toy")
    (line,) = (tmp_path / "toy/corpus.jsonl").read_text().split("\n")[:-1]
    assert json.loads(line)["text"] == found.documents["d"]
