"""The cursor of sensors: what was handled, where events with smaller ids may appear later."""

from coinbase_assets.automation.event_cursors import SECONDS_TO_APPEAR, EventCursor


def test_cursor_holds_what_was_handled() -> None:
    cursor = EventCursor().after([3, 5, 4, 9], 9, "rows", now=100)
    assert str(EventCursor.parse(str(cursor))) == str(cursor)
    assert [n for n in range(1, 12) if cursor.has_handled(n)] == [3, 4, 5, 9]
    later = EventCursor.parse(str(cursor)).after([8], 9, "rows", now=110)
    assert [n for n in range(1, 12) if later.has_handled(n)] == [3, 4, 5, 8, 9]
    assert later.handled == [[3, 5], [8, 9]]


def test_ids_are_settled_a_minute_after_they_existed() -> None:
    cursor = EventCursor().after([9], 9, "", now=100)
    cursor = cursor.after([12], 12, "", now=100 + SECONDS_TO_APPEAR - 1)
    assert (cursor.settled, cursor.has_handled(8)) == (0, False)
    cursor = cursor.after([], 12, "", now=100 + SECONDS_TO_APPEAR)
    assert (cursor.settled, cursor.handled) == (9, [[12, 12]])
    cursor = cursor.after([], 12, "", now=100 + 2 * SECONDS_TO_APPEAR)
    assert (cursor.settled, cursor.handled) == (12, [])


def test_newest_id_may_fall() -> None:
    """An asset's row has the event of whoever wrote it last."""
    cursor = EventCursor().after([12], 12, "", now=100)
    for tick in range(3):
        cursor = cursor.after([], 7, "", now=100 + (tick + 1) * SECONDS_TO_APPEAR)
    assert (cursor.settled, cursor.newest) == (12, 12)


def test_cursor_of_earlier_versions_is_a_number() -> None:
    cursor = EventCursor.parse("41")
    assert cursor.has_handled(41)
    assert not cursor.has_handled(42)
    assert cursor.after([42], 42, "", now=100).settled == 41
    assert EventCursor.parse(None) == EventCursor()
