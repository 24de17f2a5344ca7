from html.parser import HTMLParser

from ehrnet_tf.report.html import document, tag
from ehrnet_tf.report.tables import figure, plain, table


def test_what_goes_in_comes_out_as_text():
    nasty = "<script>\"&'</script>&lt;"
    reader, found = HTMLParser(), []
    reader.handle_starttag = lambda kind, attributes: found.append((kind, attributes))
    reader.handle_data = found.append
    reader.feed(document(tag("p", nasty, tag("b", nasty), nasty, title=nasty)).strip())
    reader.close()
    paragraphs = [part for part in found if isinstance(part, tuple)]
    assert paragraphs == [("p", [("title", nasty)]), ("b", [])]
    assert "".join(part for part in found if isinstance(part, str)).strip() == 3 * nasty


def test_children_and_attributes():
    element = tag("td", ["a", None, tag("b", 1.5)], ("c", tag("i")), 2, class_="x", aria_label="y", width=2.0, id=None)
    text = document(element).split("\n", 1)[1]
    assert text == '<td class="x" aria-label="y" width="2">a<b>1.5</b>c<i></i>2</td>\n'


def test_names_that_no_encoding_has():
    assert "a?b" in document(tag("p", "a\udcffb"))


def test_values():
    assert plain({"a": None, "b": [True, 0.25], "c": {}}) == "a none, b (yes, 0.25), c (none)"
    assert (plain(float("nan")), plain(1e-7), plain("x"), plain([])) == ("–", "1e-07", "x", "none")
    assert (figure(0.5304), figure(-1.0), figure(0)) == ("0.530", "–", "0.000")


def test_a_table_can_be_heard_and_scrolled_by_keys():
    region = table("Speed", ["file", "ms"], [["a", 1], ["b", tag("span", class_="bar")]])
    assert (region.get("role"), region.get("aria-label"), region.get("tabindex")) == ("region", "Speed", "0")
    assert [e.get("scope") for e in region.iter("th")] == ["col", "col", "row", "row"]
    assert [e.get("class") for e in region.iter("td")] == [None, "wide"]
