"""Growing inputs: what is repeated comes from the corpora and the dictionary, and an input over the budget is kept."""

from pathlib import Path
from random import Random

import pytest

from tests.fuzz import budget, growth
from tests.fuzz.target import TARGETS, Target

FRAMER = Target("client_framer")


def test_the_corpus_of_a_run_is_grown_too(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "found").write_bytes(b"found by fuzzing")
    seed = growth.seed_of(FRAMER, tmp_path)
    assert b"found by fuzzing" in seed
    assert len(seed) == len(list(FRAMER.corpus.iterdir())) + 1


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_inputs_are_made_of_the_corpus_and_the_dictionary(target: Target) -> None:
    chance = Random(1)
    seed = growth.seed_of(target, Path())
    assert target.words
    for _ in range(100):
        grown = growth._grown(seed, target.words, chance)
        assert grown.middle
        assert any(octets.startswith(grown.head) for octets in seed)


def test_words_of_a_dictionary_are_octets() -> None:
    assert {b"\r\n", b"{3+}\r\n"} <= {*FRAMER.words}


def test_an_input_over_the_budget_is_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "excess", lambda _work, _grown, packet: "too much" if packet == 1 else "")
    assert growth.main([FRAMER.name, str(tmp_path), "--seed=1"]) == 1
    (kept,) = tmp_path.iterdir()
    assert len(kept.read_bytes()) >= budget.SIZES[1]
    said = capsys.readouterr().out
    assert said.startswith("too much\nGrown(")
    assert str(kept) in said


def test_inputs_within_the_budget_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "excess", lambda *_: "")
    assert growth.main([FRAMER.name, str(tmp_path), "--inputs=7"]) == 0
    assert capsys.readouterr().out == "7 inputs\n"
