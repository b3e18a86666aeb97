"""The page, in a real browser against a real server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tfembed.serving.page import page
from tfembed.serving.server import Running


@pytest.fixture
def browser(driver: Any, demo: Running) -> Iterator[Any]:
    """The browser on the page; whatever it complains of fails the test."""
    driver.get(demo.rest_url + "/")
    wait(driver, lambda: not element(driver, "ask").get_property("disabled"))
    yield driver
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def wait(driver: Any, condition: Any) -> None:
    WebDriverWait(driver, 20, poll_frequency=0.02).until(lambda _: condition())


def element(driver: Any, name: str) -> Any:
    return driver.find_element(By.ID, name)


def choose(driver: Any, model: str, shown: str) -> None:
    Select(element(driver, "model")).select_by_value(model)
    wait(driver, lambda: element(driver, shown).is_displayed())


def answer(driver: Any) -> list[tuple[str, str]]:
    """Labels with what stands beside their bars, as soon as there are some."""
    wait(driver, lambda: element(driver, "answer").is_displayed())
    rows = driver.find_elements(By.CSS_SELECTOR, "#bars .row")
    return [tuple(each.text for each in row.find_elements(By.TAG_NAME, "span")) for row in rows]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.full((8, 8, 3), 240, np.uint8)).save(tmp_path / "light one.png")
    return tmp_path / "light one.png"


def test_a_text_by_keyboard(browser: Any, demo: Running) -> None:
    """Typed and asked without a mouse: labels with bars, best first, latency, the curl line, and Python."""
    choose(browser, "texts", "text")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    while browser.switch_to.active_element.get_attribute("id") != "text":
        browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys("I want my 'money' back", Keys.CONTROL, Keys.ENTER)
    found = answer(browser)
    assert [label for label, _ in found] == ["refund", "greeting"]
    assert sum(float(percent.removesuffix(" %")) for _, percent in found) == pytest.approx(100, abs=0.2)
    widths = [float(each.size["width"]) for each in browser.find_elements(By.CSS_SELECTOR, ".bar div")]
    assert widths[0] > widths[1] > 0
    assert element(browser, "latency").text.endswith(" ms)")
    line = element(browser, "curl").text
    assert line.startswith("""curl -d '{"instances":["I want my '\\''money'\\'' back"]}'""")
    assert f"'{demo.rest_url}/v1/models/texts:predict'" in line
    assert f'te.Client("{demo.rest_url}/v1/models/texts")' in element(browser, "python").text


def test_the_button(browser: Any) -> None:
    """Tab and Enter reach the button; a click works as well."""
    choose(browser, "texts", "text")
    element(browser, "text").send_keys("hello there", Keys.TAB, Keys.NULL)
    assert browser.switch_to.active_element.get_attribute("id") == "ask"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert answer(browser)[0][0] == "greeting"
    element(browser, "text").clear()
    element(browser, "text").send_keys("refund me")
    element(browser, "ask").click()
    wait(browser, lambda: answer(browser)[0][0] == "refund")


def test_a_chosen_picture(browser: Any, picture: Path) -> None:
    """A picture from a file is shown, and asked for at once."""
    choose(browser, "digits", "file")
    element(browser, "file").send_keys(str(picture))
    assert answer(browser)[0][0] == "light"
    assert element(browser, "preview").is_displayed()
    assert "base64 < 'light one.png'" in element(browser, "curl").text
    assert 'Path("light one.png")' in element(browser, "python").text


def test_a_dropped_picture(browser: Any) -> None:
    """A picture that is dropped is asked for."""
    choose(browser, "digits", "file")
    browser.execute_async_script(
        """
        const done = arguments[0], canvas = document.createElement("canvas");
        canvas.width = canvas.height = 8;
        canvas.toBlob((blob) => {
          const data = new DataTransfer();
          data.items.add(new File([blob], "dark.png", { type: "image/png" }));
          document.getElementById("drop").dispatchEvent(
            new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
          done();
        });
        """
    )
    assert answer(browser)[0][0] == "dark"


def test_an_error_is_shown(driver: Any, demo: Running, tmp_path: Path) -> None:
    """What the server says of bad input is shown, and the page goes on working."""
    driver.get(demo.rest_url + "/")
    wait(driver, lambda: not element(driver, "ask").get_property("disabled"))
    choose(driver, "digits", "file")
    (tmp_path / "no.png").write_bytes(b"no picture")
    element(driver, "file").send_keys(str(tmp_path / "no.png"))
    wait(driver, lambda: "image" in element(driver, "error").text.lower())
    assert not element(driver, "answer").is_displayed()
    driver.get_log("browser")  # the refused request is there, as it should be


@pytest.mark.parametrize("width", [320, 375])
def test_on_a_phone(browser: Any, width: int) -> None:
    """On a narrow screen nothing sticks out, also with an answer."""
    metrics = {"width": width, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        choose(browser, "texts", "text")
        element(browser, "text").send_keys("hello there " * 10, Keys.CONTROL, Keys.ENTER)
        answer(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert element(browser, "ask").size["height"] >= 40
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everything_has_a_name(browser: Any) -> None:
    """What can be operated is named for those who do not see it."""
    choose(browser, "texts", "text")
    controls = browser.find_elements(By.CSS_SELECTOR, "select, textarea, button, input")
    assert all(each.accessible_name for each in controls if each.is_displayed())


def test_no_network() -> None:
    """The page loads nothing from elsewhere, and a model's name cannot break out of its script."""
    html = page(["</script><script>alert(1)</script>"])
    assert "http://" not in html
    assert "https://" not in html
    assert html.count("</script>") == 1
