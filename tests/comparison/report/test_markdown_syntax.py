"""Markdown in which hostile names stay names, read back by a parser of Markdown."""

from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ravine.comparison._report.markdown_syntax import code, fenced, prose, table

HOSTILE = [
    "a|b",
    "a\\|b",
    "`tick`",
    "``two`` ",
    "<script>alert(1)</script>",
    "two\nlines",
    "![x](http://example.org/x.png)",
    "[x](http://example.org)",
    "**bold**",
    "# head",
    "@somebody",
    "$x$",
    "\x00\u202e",
    " ",
    "",
    "&amp;",
    "\\",
]
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def parser():
    return MarkdownIt("commonmark", {"html": True}).enable("table")


def tokens(source):
    return [child for token in parser().parse(source) for child in (token.children or [token])]


def spans(source):
    return [token.content for token in tokens(source) if token.type == "code_inline"]


def shown(name):
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_one_code_span(name):
    (found,) = spans(f"before {code(name)} after")
    assert found.strip() == shown(name).strip()


@given(text)
def test_any_name_is_one_code_span(name):
    (found,) = spans(f"before {code(name)} after")
    assert found.strip() == shown(name).strip()


@given(text, text)
def test_prose_is_text_with_its_names_as_code(name, rest):
    said = f"{rest} {name} is best."
    found = tokens(f"x {prose(said, [name])}")
    assert {t.type for t in found} <= {"paragraph_open", "paragraph_close", "text", "code_inline", "text_special"}
    if name.strip():
        assert shown(name).strip() in [t.content.strip() for t in found if t.type == "code_inline"]


def test_a_name_within_a_word_or_within_a_longer_name_is_not_marked():
    assert prose("adamw beats adam, and adam-2 beats madam.", ["adam", "adam-2"]) == (
        "adamw beats `adam`, and `adam-2` beats madam."
    )


def test_prose_obeys_no_markup():
    assert prose("*a* <b> [c](d) `e` f_g #1 @h") == r"\*a\* \<b\> \[c\](d) \`e\` f\_g \#1 \@h"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_breaks_no_table(name):
    source = table(["optimizer", "lr"], [[code(name), "0.1"], [code("sgd"), "12.5"]])
    html = parser().render(source)
    assert html.count("<tr>") == 3
    assert html.count("<td") == 4
    assert html.count("<th ") == 2
    cell = unescape(html.split("<code>")[1].split("</code>")[0])
    assert cell.strip() == shown(name).strip()
    assert "<script>" not in html
    assert "<img" not in html


def test_tables_are_aligned_as_text_too():
    assert table(["name", "lr", "scale"], [["a", "0.1", "log"], ["名前", "12.5", "linear"]], left=(0, 2)) == (
        "| name |   lr | scale  |\n| :--- | ---: | :----- |\n| a    |  0.1 | log    |\n| 名前 | 12.5 | linear |"
    )


@given(st.one_of(text, st.sampled_from(["```", "a\n````\n# b", "~~~"])))
def test_a_block_of_code_ends_where_it_should(content):
    content = "\n".join(map(shown, content.split("\n")))
    (token,) = parser().parse(fenced(content, "text"))
    assert token.type == "fence"
    assert token.content == f"{content}\n"
