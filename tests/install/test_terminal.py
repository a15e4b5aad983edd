"""The progress line."""

from __future__ import annotations

from installer.demo import STAGES
from installer.terminal import Line, in_words


def test_time_left_comes_from_the_mean_speed():
    assert in_words("Fitting", 0.25, "3/12", 30.0) == f"[{'#' * 6}{'.' * 18}]  25 %  1:30 left  Fitting  3/12"


def test_no_time_left_before_anything_is_known():
    assert "left" not in in_words("Starting", 0.0, "", 5.0)
    assert in_words("Installing", None, "torch", 61.0) == "Installing  1:01  torch"


def test_a_share_above_one_stays_on_the_bar():
    assert in_words("Fitting", 1.2, "", 10.0).startswith(f"[{'#' * 24}] 100 %")


def test_stages_follow_each_other_without_a_gap():
    ends = [0.0, *(end for _, end, _ in STAGES.values())]
    assert [begin for begin, _, _ in STAGES.values()] == ends[:-1] and ends[-1] == 1.0


def test_without_a_terminal_each_label_is_said_once(capsys):
    with Line() as line:
        for done in range(5):
            line.show("Fitting", done / 5)
        line.note("The clip is cut off.")
        line.show("Writing")
    assert capsys.readouterr().err.splitlines() == ["Fitting", "The clip is cut off.", "Writing"]
