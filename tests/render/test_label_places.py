"""Labels are inside the picture, over no face while there is room, apart from each other, and do not jump."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from emostream.render.label_places import Area, Label, Place, Room, Side, place_labels

WIDTH, HEIGHT = 640, 360


def _areas(*, most: int = 40, least_side: int = 1, side: int = 200) -> st.SearchStrategy[list[Area]]:
    sides = st.integers(least_side, side)
    area = st.builds(Area.at, st.integers(-60, WIDTH + 20), st.integers(-60, HEIGHT + 20), sides, sides)
    return st.lists(area, max_size=most)


def _labels(faces: list[Area], *, width: int = 90, height: int = 20) -> list[Label]:
    return [Label(box, width, height, gap=2, key=number) for number, box in enumerate(faces)]


def _placed(faces: list[Area], earlier: dict[int, Place | None] | None = None) -> list[Place | None]:
    return place_labels(_labels(faces), Room(WIDTH, HEIGHT, faces=faces), earlier=earlier)


def _meet(one: Area, other: Area) -> bool:
    return one.x0 < other.x1 and one.x1 > other.x0 and one.y0 < other.y1 and one.y1 > other.y0


def _assert_apart(places: list[Place | None], faces: list[Area]) -> None:
    areas = [place.area for place in places if place is not None]
    for number, area in enumerate(areas):
        assert 0 <= area.x0 < area.x1 <= WIDTH, area
        assert 0 <= area.y0 < area.y1 <= HEIGHT, area
        assert not any(_meet(area, other) for other in areas[number + 1 :])
    for place in places:
        if place is not None and place.side is not Side.OVER:
            assert not any(_meet(place.area, face) for face in faces)


@given(_areas())
def test_labels_are_inside_and_apart_and_always_the_same(faces: list[Area]) -> None:
    places = _placed(faces)
    _assert_apart(places, faces)
    assert places == _placed(faces)


@given(_areas(most=8, least_side=20, side=60))
def test_with_few_faces_each_has_a_label_over_no_face(faces: list[Area]) -> None:
    """There is room for all of them in a picture of this size."""
    places = _placed(faces)
    assert None not in places
    assert Side.OVER not in {place.side for place in places if place is not None}


@given(_areas())
def test_a_label_over_a_face_means_that_nothing_is_free(faces: list[Area]) -> None:
    places = _placed(faces)
    room = Room(WIDTH, HEIGHT, faces=faces, taken=[place.area for place in places if place is not None])
    for label, place in zip(_labels(faces), places, strict=True):
        if place is not None and place.side is Side.OVER:
            assert room.first_beside(label) is None
            assert room.nearest(label) is None


@given(_areas(least_side=20, side=80), st.data())
def test_labels_do_not_jump_when_faces_shake(faces: list[Area], data: st.DataObject) -> None:
    """A label changes its side only where a face or a label that stayed is in its way."""
    before = _placed(faces)
    shaken = [
        Area(x0 + across, y0 + down, x1 + across, y1 + down)
        for x0, y0, x1, y1 in faces
        for across, down in [data.draw(st.tuples(st.integers(-2, 2), st.integers(-2, 2)))]
    ]
    after = _placed(shaken, dict(enumerate(before)))
    _assert_apart(after, shaken)
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        if old is None or new is None or old.side in (Side.OVER, Side.AWAY) or old.side is new.side:
            continue
        others = [place.area for at, place in enumerate(after) if place is not None and at != number]
        wanted = Room(WIDTH, HEIGHT, faces=shaken).beside(_labels(shaken)[number], old.side)
        assert not Room(WIDTH, HEIGHT, faces=shaken, taken=others).is_free(wanted)


@given(_areas())
def test_the_same_faces_keep_the_same_places(faces: list[Area]) -> None:
    before = _placed(faces)
    assume(Side.AWAY not in {place.side for place in before if place is not None})
    assert _placed(faces, dict(enumerate(before))) == before


def test_the_face_that_fills_the_picture_has_its_label_on_its_forehead() -> None:
    (place,) = _placed([Area(0, 0, WIDTH, HEIGHT)])
    assert place == Place(Area.at(0, 0, 90, 20), Side.OVER)


def test_where_a_crowd_leaves_no_room_the_less_important_have_no_label() -> None:
    crowd = [Area.at(32 * column, 24 * row, 31, 23) for row in range(15) for column in range(20)]
    assert set(_placed(crowd)) == {None}


def test_a_face_between_others_is_led_to_its_label() -> None:
    around = [Area.at(x, y, 80, 80) for x in (200, 284, 368) for y in (60, 144, 228)]
    middle = around.pop(4)
    *_, place = _placed([*around, middle])
    assert place is not None
    assert place.side is Side.AWAY


def test_what_is_larger_than_the_picture_has_no_place() -> None:
    face = [Area(0, 0, 5, 5)]
    assert place_labels([Label(face[0], 90, 20)], Room(60, 40, faces=face)) == [None]
    assert place_labels([Label(face[0], 9, 20)], Room(60, 10, faces=face)) == [None]
