"""Files of people are called by their names, on every system, and nobody overwrites anybody."""

from __future__ import annotations

import unicodedata

import pytest

from blender_addon.shared.filenames import LONGEST_BYTES, person_names, safe_name


@pytest.mark.parametrize(
    ("given", "safe"),
    [("Anna", "Anna"), ("Anna Maria", "Anna Maria"), ("a/b\\c:d*e?f\"g<h>i|j", "a_b_c_d_e_f_g_h_i_j"),
     ("  two\n lines\t", "two lines"), ("con", "_con"), ("NUL.txt", "_NUL.txt"), ("COM1", "_COM1"),
     ("Conny", "Conny"), ("bell\x07", "bell_"),
     ("end. . ", "end"), ("..", ""), ("/", ""), ("", ""), (".hidden", "hidden"), ("../../etc", "_.._etc"),
     ("Zo\u0065\u0308", "Zo\u00eb"), ("\u6f22\u5b57", "\u6f22\u5b57"), ("a\u202eb", "a_b"), ("50%", "50_")],
)  # fmt: skip
def test_a_name_becomes_one_that_every_system_takes(given, safe):
    assert safe_name(given) == safe


def test_a_long_name_is_cut_between_letters():
    name = safe_name("\u6f22" * 60)
    assert len(name.encode("utf-8")) <= LONGEST_BYTES and set(name) == {"\u6f22"}


def test_nobody_overwrites_anybody():
    names = {1: "Anna", 2: "anna", 4: "person3", 5: "A/", 6: "A\\", 7: "  ", 8: "Anna_person2"}
    made = person_names(range(1, 9), names)
    assert made[1] == "Anna" and made[2] == "anna_person2" and made[3] == "person3" and made[7] == "person7"
    assert made[4] == "person3_person4" and made[5] == "A_"
    folded = [unicodedata.normalize("NFC", n.casefold()) for n in made.values()]
    assert len(set(folded)) == 8
    assert person_names([2], {}) == {2: "person2"}
    assert person_names([2], {2: "Person2"}) == {2: "Person2_person2"}
