from gramviz.ui.drawings import Drawings


def test_the_same_rows_are_drawn_once_and_only_the_last_are_kept():
    drawings, rows, made = Drawings(most=1), [{"step": 1}], []

    def draw():
        made.append(object())
        return made[-1]

    first = drawings.of("a", rows, draw)
    assert drawings.of("a", rows, draw) is first
    assert drawings.of("a", list(rows), draw) is not first  # read anew
    drawings.of("b", rows, draw)
    assert drawings.of("a", rows, draw) is made[-1]
    assert len(made) == 4
