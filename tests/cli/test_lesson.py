"""The lesson: it runs to the end in both languages, and its code prints what PyTorch prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from flambeau.cli.lesson import steps, text_plot
from flambeau.cli.lesson.show import CATALOGUES, run_piece
from flambeau.cli.lesson.texts import columns, wrap

LESSON = ["-m", "flambeau", "lesson"]
NAMES = [step.name for step in steps.STEPS]
PIECES = sum(len(step.pieces) for step in steps.STEPS)

# Prints, as JSON, what every piece of every step printed.
RUN_ALL = """
import json, sys
import flambeau
from flambeau.cli.lesson.show import run_piece
from flambeau.cli.lesson.steps import STEPS

if sys.argv[1] == "flambeau":
    flambeau.as_torch()
printed = {}
for step in STEPS:
    variables = {"png": sys.argv[2]}
    printed[step.name] = [run_piece(code, variables) for code in step.pieces]
print(json.dumps(printed))
"""


@pytest.fixture(scope="module")
def printed_by(python, tmp_path_factory):
    """``printed_by(framework)``: what each piece prints under it."""

    def run(framework: str) -> dict[str, list[str]]:
        png = tmp_path_factory.mktemp("png") / "lesson.png"
        done = python("-c", RUN_ALL, framework, png)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("lang", CATALOGUES)
def test_runs_to_the_end(python, tmp_path, printed_by, lang):
    png = tmp_path / "picture.png"
    done = python(*LESSON, "--lang", lang, "--png", png)
    assert (done.returncode, done.stderr) == (0, "")
    assert png.read_bytes().startswith(b"\x89PNG")
    texts = CATALOGUES[lang]
    at = 0
    for step in steps.STEPS:
        at = done.stdout.index(texts.steps[step.name].title, at)
        for code, printed in zip(step.pieces, printed_by("flambeau")[step.name]):
            at = done.stdout.index(indented(code, "    "), at)
            at = done.stdout.index(indented(printed, "  | "), at)
    assert done.stdout.rstrip().endswith(wrap(texts.goodbye))


@pytest.mark.parametrize("lang", CATALOGUES)
def test_lines_fit_a_terminal(python, tmp_path, lang):
    done = python(*LESSON, "--lang", lang, "--png", "p.png", cwd=tmp_path)
    assert max(map(columns, done.stdout.splitlines())) <= 80


def indented(text: str, indent: str) -> str:
    return "\n".join((indent + line).rstrip() for line in text.splitlines())


@pytest.mark.parity
def test_prints_what_pytorch_prints(torch_oracle, printed_by):
    assert printed_by("flambeau") == printed_by("torch")


def test_the_output_is_that_of_the_run():
    assert run_piece("print(1 + n)", {"n": 2}) == "3\n"


def test_the_gradients_by_hand_agree(printed_by):
    printed = printed_by("flambeau")
    one, many = printed["chain"]
    autograd, by_hand, nudged = (line.split() for line in one.splitlines())
    assert autograd[-1] == f"tensor({int(float(by_hand[-1]))}.)"
    assert float(nudged[-1]) == pytest.approx(float(by_hand[-1]), rel=1e-3)
    _, autograd, by_hand = many.split("tensor", 1)[1].replace("by hand ", "autograd").split(
        "autograd ")
    assert autograd == by_hand


def test_one_step_alone(python):
    done = python(*LESSON, "--step", 4, "--lang", "en")
    assert done.returncode == 0
    shown = [name for name in NAMES if CATALOGUES["en"].steps[name].title in done.stdout]
    assert shown == ["copy"]


@pytest.mark.parametrize("number", ["0", "10", "x"])
def test_a_step_that_is_not_there(python, number):
    done = python(*LESSON, "--step", number)
    assert done.returncode == 2
    assert "--step" in done.stderr


def test_the_language_of_the_environment(python):
    done = python(*LESSON, "--step", 1, FLAMBEAU_LANG="zh")
    assert CATALOGUES["zh"].steps["tensor"].title in done.stdout


def test_a_terminal_without_chinese(python):
    done = python(*LESSON, "--step", 1, "--lang", "zh", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tensor(7.)" in done.stdout


def test_without_matplotlib(python, tmp_path):
    block = ("import sys; sys.modules['matplotlib'] = None\n"
             "from flambeau.cli.main import main; sys.exit(main(sys.argv[1:]))")
    done = python("-c", block, "lesson", "--step", 9, "--lang", "en", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pip install matplotlib" in " ".join(done.stdout.split())
    assert done.stdout.count("o") > 24 and "-o-" in done.stdout and "**" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written(python, tmp_path):
    png = tmp_path / "missing" / "picture.png"
    done = python(*LESSON, "--step", 9, "--lang", "en", "--png", png)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--png FILE" in " ".join(done.stdout.split())


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")
def test_a_terminal_is_asked_before_each_step():
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, b"\nq\n")
    done = subprocess.run([sys.executable, *LESSON, "--lang", "en"], stdin=theirs,
                          capture_output=True, text=True, timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")
    shown = [name for name in NAMES if CATALOGUES["en"].steps[name].title in done.stdout]
    assert shown == ["tensor"]
    assert done.stdout.count(CATALOGUES["en"].words["pause"]) == 2


@pytest.mark.parametrize("lang", CATALOGUES)
def test_every_step_and_piece_has_its_text(lang):
    texts, english = CATALOGUES[lang], CATALOGUES["en"]
    assert list(texts.steps) == NAMES
    assert set(texts.words) == set(english.words)
    for step in steps.STEPS:
        pieces = texts.steps[step.name].pieces
        assert len(pieces) == len(step.pieces)
        assert all(piece.before and piece.why for piece in pieces)
        for piece, other in zip(pieces, english.steps[step.name].pieces):
            assert list(piece.notes) == list(other.notes)


@pytest.mark.parametrize("lang", CATALOGUES)
def test_the_eight_attributes_and_every_line_of_the_loop_are_explained(lang):
    texts = CATALOGUES[lang].steps
    assert list(texts["attributes"].pieces[0].notes) == [
        "data", "dtype", "shape", "device", "requires_grad", "grad", "grad_fn", "is_leaf"]
    explained = "\n".join(texts["regression"].pieces[1].notes).splitlines()
    lines = [line.strip() for line in steps.LOOP.splitlines()]
    assert [line.strip() for line in explained] == lines


def test_the_plot_has_its_ends_in_the_corners():
    rows = text_plot.plot([([0, 10], [5, 1], "#")], width=20, height=5).splitlines()
    assert rows[0] == "       5 |#"
    assert rows[4] == "       1 |" + " " * 19 + "#"
    assert rows[6].split() == ["0", "10"]


def test_the_plot_of_equal_values():
    assert "#" in text_plot.plot([([3, 3], [2, 2], "#")])


def test_the_logarithmic_plot():
    rows = text_plot.plot([([0, 1, 2], [1, 10, 100], "#")], width=3, height=3, log=True)
    assert [row[-3:].strip(" |") for row in rows.splitlines()[:3]] == ["#", "#", "#"]
    with pytest.raises(ValueError):
        text_plot.plot([([0, 1], [0, 1], "#")], log=True)


def test_chinese_lines_do_not_begin_with_punctuation():
    text = CATALOGUES["zh"].steps["leaf"].pieces[0].why
    for width in range(12, 60):
        lines = wrap(text, width=width).splitlines()
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert not any(line[0] in "，。；：、）" for line in lines)
