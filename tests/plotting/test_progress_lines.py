"""Lines of progress in a log: none for what is quick, and never thousands."""

from ravine._plotting.progress_lines import ProgressLines


def lines_in(seconds):
    now = 0.0
    lines, count = ProgressLines(lambda: now), 0
    while now < seconds:
        now += 1.0
        if lines.due():
            lines.written()
            count += 1
    return count


def test_how_many_lines_there_are():
    assert lines_in(9) == 0
    assert lines_in(60) == 6
    assert 25 < lines_in(3600) < 60
    assert 200 < lines_in(24 * 3600) < 400


def test_a_line_for_another_reason_puts_it_off():
    now = 9.0
    lines = ProgressLines(lambda: now)
    now = 18.0
    lines.written()
    now = 27.0
    assert not lines.due()
    now = 28.0
    assert lines.due()
