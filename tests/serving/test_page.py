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


def test_a_rejected_input_is_said_first(driver: Any, demo: Running) -> None:
    """Above the bars stands that it is none of the classes, with the best score and the threshold."""
    driver.get(demo.rest_url + "/")
    wait(driver, lambda: not element(driver, "ask").get_property("disabled"))
    choose(driver, "picky", "text")
    assert element(driver, "about").text == "picky, version 1, takes a text."
    element(driver, "text").send_keys("hello, my money back", Keys.CONTROL, Keys.ENTER)
    label, percent = answer(driver)[0]
    assert element(driver, "decision").text == "Rejected: none of the classes"
    assert element(driver, "reason").text == f"The likeliest class is {label}, {percent}. The threshold is 100.0 %."


def test_the_decision_is_said(browser: Any) -> None:
    """Without a threshold it is the likeliest class with its score."""
    choose(browser, "texts", "text")
    element(browser, "text").send_keys("hello there", Keys.CONTROL, Keys.ENTER)
    label, percent = answer(browser)[0]
    assert element(browser, "decision").text == f"{label}, {percent}"
    assert element(browser, "reason").text == ""


def test_an_empty_text_is_not_asked(browser: Any) -> None:
    """Nothing, and blanks, are refused on the page."""
    choose(browser, "texts", "text")
    for text in ("", "  "):
        element(browser, "text").send_keys(text)
        element(browser, "ask").click()
        wait(browser, lambda: element(browser, "error").text == "Type a text first.")
        assert not element(browser, "answer").is_displayed()


DROP = """
    const data = new DataTransfer();
    if (arguments[0]) data.items.add(new File(["words"], arguments[0], { type: arguments[1] }));
    document.getElementById("drop").dispatchEvent(
      new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
"""


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [("notes.txt", "text/plain", "notes.txt is no picture."), (None, None, "That is no file")],
)
def test_what_is_dropped_must_be_a_picture(browser: Any, picture: Path, name: str, kind: str, message: str) -> None:
    """Another file, or no file, is refused by name, and the picture from before is gone."""
    choose(browser, "digits", "file")
    element(browser, "file").send_keys(str(picture))
    answer(browser)
    browser.execute_script(DROP, name, kind)
    assert element(browser, "error").text.startswith(message)
    assert not element(browser, "preview").is_displayed()
    element(browser, "ask").click()
    wait(browser, lambda: element(browser, "error").text == "Choose a picture first.")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read(driver: Any, demo: Running, theme: str) -> None:
    """In both themes the contrast of every text, button and message is 4.5 to 1 at least."""
    features = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        driver.get(demo.rest_url + "/")
        wait(driver, lambda: not element(driver, "ask").get_property("disabled"))
        choose(driver, "picky", "text")
        element(driver, "text").send_keys("hello there", Keys.CONTROL, Keys.ENTER)
        answer(driver)
        wait(driver, lambda: not element(driver, "ask").get_property("disabled"))
        driver.execute_script("document.getElementById('error').textContent = 'An error'")
        contrasts = driver.execute_script(CONTRASTS)
        assert len(contrasts) > 10
        assert {text: round(value, 2) for text, value in contrasts if value < 4.5} == {}
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


# The contrast of every visible text with what is behind it, as WCAG 2 defines it.
CONTRASTS = """
    const channels = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => {
      for (; node; node = node.parentElement) {
        const color = channels(getComputedStyle(node).backgroundColor);
        if (color.length === 3 || color[3] > 0) return color;
      }
      return [255, 255, 255];
    };
    const own = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    return [...document.querySelectorAll("body *")]
      .filter((node) => (own(node) || node.tagName === "TEXTAREA") && node.checkVisibility())
      .map((node) => {
        const [a, b] = [light(channels(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
        return [node.textContent || node.id, (a + 0.05) / (b + 0.05)];
      });
"""


def test_an_error_is_shown(driver: Any, demo: Running, tmp_path: Path) -> None:
    """What the server says of bad input is shown, and the page goes on working."""
    driver.get(demo.rest_url + "/")
    wait(driver, lambda: not element(driver, "ask").get_property("disabled"))
    choose(driver, "digits", "file")
    (tmp_path / "no.png").write_bytes(b"no picture")
    element(driver, "file").send_keys(str(tmp_path / "no.png"))
    wait(driver, lambda: "image" in element(driver, "error").text.lower())
    assert not element(driver, "answer").is_displayed()
    assert not element(driver, "preview").is_displayed()
    message = element(driver, "error").text
    assert "{{" not in message
    assert "[[" not in message
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
    html = page({"</script><script>alert(1)</script>": {1: None}})
    assert "http://" not in html
    assert "https://" not in html
    assert html.count("</script>") == 1
