"""The page, from disk in a real browser without a network."""

from collections.abc import Iterator
from typing import Any

import pytest

import tfembed as te

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")


@pytest.fixture
def page(driver: Any, text_study: te.Study) -> Iterator[Any]:
    """The browser on the page of texts, on a screen of usual width; whatever it complains of fails the test."""
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    driver.get((text_study.folder / "report.html").as_uri())
    yield driver
    assert driver.get_log("browser") == []
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})


def find(page: Any, selector: str) -> list[Any]:
    found: list[Any] = page.find_elements("css selector", selector)
    return found


def column(page: Any, number: int) -> list[str]:
    """What stands in a column of the leaderboard, from the top down."""
    return [cell.get_attribute("data-value") for cell in find(page, f"#leaderboard td:nth-child({number})")]


def test_it_has_all_parts(page: Any, text_study: te.Study) -> None:
    """Leaderboard, cost, depth, curves, training, winner, calibration, errors, repetition and sources are there."""
    names = [
        "leaderboard",
        "cost",
        "depth",
        "curves",
        "training",
        "result",
        "calibration",
        "errors",
        "repeat",
        "sources",
    ]
    assert [section.get_attribute("id") for section in find(page, "section")] == names
    assert [link.get_attribute("href").split("#")[1] for link in find(page, "nav a")] == [
        *(name for name in names if name not in ("training", "repeat", "sources")),
        *("training", "repeat", "sources"),
    ]
    assert find(page, "h1")[0].text == text_study.folder.name
    assert len(find(page, "#leaderboard tbody tr")) == len(text_study.leaderboard)
    assert all(svg.size["height"] > 100 for svg in find(page, "svg"))
    assert len(find(page, "svg")) == 5


def test_what_users_wrote_is_text(page: Any, text_study: te.Study) -> None:
    """Markup in texts, classes and the study's name is shown, not obeyed; the policy allows no other script either."""
    assert page.title == f"{text_study.folder.name} - tfembed"
    assert "<script>document.title" in find(page, "#errors q")[0].text
    assert "<b>yes</b>" in find(page, ".matrix")[0].text
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s)"
    )
    assert page.title != "1"
    (refused,) = page.get_log("browser")
    assert "Content Security Policy" in refused["message"]


def test_it_loads_nothing(page: Any) -> None:
    """The file holds all that it needs."""
    assert page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []


def test_a_click_sorts(page: Any) -> None:
    """The first click on a head sorts by it, the second one the other way round; what failed stays last."""
    seconds, score = find(page, "#leaderboard th button")[4], find(page, "#leaderboard th button")[2]
    before = column(page, 5)
    seconds.click()
    assert column(page, 5) == sorted(before, key=float)
    seconds.click()
    assert column(page, 5) == sorted(before, key=float, reverse=True)
    find(page, "#leaderboard th button")[1].click()
    find(page, "#leaderboard th button")[1].click()
    assert column(page, 3)[0] == "", "by name from the end, the one that failed stands first"
    score.click()
    known = [float(each) for each in column(page, 3) if each]
    assert known == sorted(known, reverse=True)
    assert column(page, 3)[-1] == ""
    score.click()
    assert [float(each) for each in column(page, 3) if each] == sorted(known)
    assert column(page, 3)[-1] == ""
    sorted_by = [head.get_attribute("aria-sort") for head in find(page, "#leaderboard th")]
    assert sorted_by == [None, None, "ascending", None, None, None, None]


def test_keys_sort(page: Any) -> None:
    """Who has no mouse tabs to a head and presses Enter."""
    page.execute_script("arguments[0].focus()", find(page, "#leaderboard th button")[0])
    page.switch_to.active_element.send_keys("\ue004")  # Tab
    page.switch_to.active_element.send_keys("\ue007")  # Enter
    names = column(page, 2)
    assert names == sorted(names)
    page.switch_to.active_element.send_keys("\ue007")
    assert column(page, 2) == names[::-1]


def test_everything_has_a_name(page: Any) -> None:
    """What can be operated or is drawn is named for those who do not see it."""
    assert all(each.accessible_name for each in find(page, "button, svg, .box") if each.is_displayed())


@pytest.mark.parametrize("width", [320, 360])
def test_on_a_phone(page: Any, width: int) -> None:
    """Nothing sticks out of a narrow screen; wide tables scroll inside their boxes."""
    metrics = {"width": width, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    scrolling = "return [...document.querySelectorAll('.box')].some(box => box.scrollWidth > box.clientWidth)"
    assert page.execute_script(scrolling)


def test_light_and_dark(page: Any) -> None:
    """The page follows the scheme of the system."""

    def shades(scheme: str) -> list[int]:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        return [
            int(page.execute_script(f"return getComputedStyle(document.body).{name}").split("(")[1].split(",")[0])
            for name in ("backgroundColor", "color")
        ]

    (light_paper, dark_ink), (dark_paper, light_ink) = shades("light"), shades("dark")
    assert light_paper > 200 > 60 > dark_ink
    assert dark_paper < 60 < 200 < light_ink


def test_pictures_are_part_of_the_file(driver: Any, image_study: te.Study) -> None:
    """The worst errors of images are seen, and small ones are not blurred."""
    driver.get((image_study.folder / "report.html").as_uri())
    pictures = find(driver, "#errors img")
    assert pictures
    assert all(driver.execute_script("return arguments[0].naturalWidth", each) == 8 for each in pictures)
    assert all("small" in each.get_attribute("class") for each in pictures)
    assert driver.get_log("browser") == []


# Texts of charts that stick out of their chart, which cuts them off.
CUT_OFF = """
    return [...document.querySelectorAll("svg text")].filter((text) => {
      const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
      return inner.left < outer.left || inner.right > outer.right
        || inner.top < outer.top || inner.bottom > outer.bottom;
    }).map((text) => text.textContent);
"""


@pytest.mark.parametrize("width", [390, 1440])
def test_no_text_of_a_chart_is_cut_off(page: Any, width: int) -> None:
    """On a phone and on a wide screen every tick, title and label lies within its chart, also longer ones."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert len(find(page, "svg text")) > 30
    assert page.execute_script(CUT_OFF) == []
    page.execute_script(
        "for (const text of document.querySelectorAll('.tick[text-anchor=end]')) text.textContent = '-99.95 %';"
        "for (const text of document.querySelectorAll('.label')) text.textContent = '100';"
    )
    assert page.execute_script(CUT_OFF) == []
