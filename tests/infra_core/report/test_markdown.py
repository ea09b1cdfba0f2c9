"""Foreign text never acts, and tables line up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.report.markdown import code, escape, table


@settings(deadline=None)
@given(st.text())
def test_no_text_can_break_out_of_a_cell_or_open_a_tag(text):
    """Whatever a corpus holds stays one line of text within its cell."""
    for shown in (escape(text), code(text)):
        assert not set(shown) & set("|<>\n\r")
    assert "`" not in escape(text)
    assert code(text).count("`") in {0, 2}


def test_columns_line_up():
    """A table is readable before it is rendered."""
    assert table(["name", "rows"], [["a", "1"], ["longer", "1,000"]]) == [
        "| name   |  rows |",
        "| ------ | ----: |",
        "| a      |     1 |",
        "| longer | 1,000 |",
        "",
    ]
