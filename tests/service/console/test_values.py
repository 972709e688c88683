"""The console's modules that work on values alone: addresses of pages, the grid of the wall, shares over time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

pytestmark = pytest.mark.integration


def call(page: Page, module: str, name: str, *arguments: Any) -> Any:
    """What a function of a module gives."""
    code = "async ([module, name, given]) => (await import(`/console/${module}.js`))[name](...given)"
    return page.evaluate(code, [module, name, list(arguments)])


ROUTE = """async (hash) => {
  const { routeOf } = await import("/console/routes.js");
  const { kind, id, part, query } = routeOf(hash);
  return [kind, id, part, Object.fromEntries(query)];
}"""


@pytest.mark.parametrize(
    ("address", "route"),
    [
        ("", ["", "", "", {}]),
        ("#/", ["", "", "", {}]),
        ("#/?search=a%2Fb%3F&filter=Failed", ["", "", "", {"search": "a/b?", "filter": "Failed"}]),
        ("#/streams/door", ["streams", "door", "", {}]),
        ("#/streams/a%2Fb%20c/zones", ["streams", "a/b c", "zones", {}]),
        ("#/streams/%zz", ["streams", "%zz", "", {}]),
        ("#/jobs", ["jobs", "", "", {}]),
        ("#/wall?search=x", ["wall", "", "", {"search": "x"}]),
    ],
)
def test_addresses_of_pages(files_page: Page, address: str, route: list[Any]) -> None:
    assert files_page.evaluate(ROUTE, address) == route


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=20), query=st.dictionaries(st.sampled_from(["search", "filter"]), st.text(max_size=20)))
def test_links_lead_where_they_say(files_page: Page, name: str, query: dict[str, str]) -> None:
    link = call(files_page, "routes", "linkToStream", name, "zones")
    assert files_page.evaluate(ROUTE, link)[1] == name
    link = call(files_page, "routes", "linkWith", "wall", query)
    assert files_page.evaluate(ROUTE, link) == ["wall", "", "", {key: value for key, value in query.items() if value}]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(1, 48), width=st.integers(50, 4000), height=st.integers(50, 3000))
def test_tiles_of_the_wall_are_as_large_as_they_can_be(files_page: Page, number: int, width: int, height: int) -> None:
    room = {"width": width, "height": height}
    grid = call(files_page, "wall_grid", "gridFor", number, room)
    columns, rows = grid["columns"], grid["rows"]
    assert columns * rows >= number > columns * (rows - 1)

    def size(columns: int) -> float:
        return min(width / columns, height / -(-number // columns) * 16 / 9)

    assert size(columns) == max(size(each) for each in range(1, number + 1))
    fitting = call(files_page, "wall_grid", "fitting", room, 48)
    assert 1 <= fitting <= 48


@pytest.mark.parametrize(
    ("number", "room", "grid"),
    [
        (1, (1400, 900), (1, 1)),
        (4, (1400, 900), (2, 2)),
        (9, (1920, 1080), (3, 3)),
        (24, (390, 780), (3, 8)),
        (0, (1400, 900), (1, 1)),
    ],
)
def test_grids_that_people_expect(files_page: Page, number: int, room: tuple[int, int], grid: tuple[int, int]) -> None:
    found = call(files_page, "wall_grid", "gridFor", number, {"width": room[0], "height": room[1]})
    assert (found["columns"], found["rows"]) == grid


SHARES = """async (samples) => {
  const { History } = await import("/console/history.js");
  const history = new History({ keepMs: 1000, untilMs: 1000 });
  for (const [ms, track_id, dominant] of samples) {
    const faces = [{ track_id, dominant, confidence: 0.5 }];
    history.add({ captured_at: new Date(ms).toISOString(), epoch: 1, latency_ms: {}, faces });
  }
  return history.sharesOverTime(0, 1000, 4).map((shares) => Object.fromEntries(shares));
}"""


def test_shares_over_time(files_page: Page) -> None:
    samples = [(0, 1, "happy"), (10, 2, "sad"), (20, 3, "happy"), (249, 1, "happy"), (250, 1, "sad"), (1000, 2, "sad")]
    assert files_page.evaluate(SHARES, samples) == [{"happy": 0.75, "sad": 0.25}, {"sad": 1}, {}, {"sad": 1}]
