"""The report in a real browser: sorting, filtering, curves, pictures, and nothing foreign is executed."""

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import REPOSITORY
from reports import ALERT, exercises, hostile
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from sweeper.summary.report import write_report


@pytest.fixture(autouse=True, scope="module")
def quick_files() -> Iterator[None]:
    """Skip syncing: the files need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A real Chromium without a window."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("Debian's packages chromium and chromium-driver are not installed")
    options = ChromeOptions()
    options.binary_location = program
    switches = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for switch in (*switches.split(), "disable-component-update", "disable-sync"):
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options, ChromeService(driver)) as chrome:
        chrome.set_window_size(1280, 900)
        yield chrome


def console(browser: Chrome) -> list[str]:
    """Return the messages since the last call, violations of the page's policy included."""
    return [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a report."""
    folder = tmp_path_factory.mktemp("exercises")
    exercises(folder)
    return write_report(folder).as_uri()


@pytest.fixture
def page(browser: Chrome, written: str) -> Iterator[Chrome]:
    """Open a report; check that the console stays empty until the test is over."""
    browser.get(written)
    yield browser
    assert console(browser) == []


def column(page: Chrome, name: str) -> list[str]:
    """Return the texts of a column in the rows that are shown."""
    names = [header.text.replace("\n", "") for header in page.find_elements(By.CSS_SELECTOR, "#results-table th")]
    cells = page.find_elements(By.CSS_SELECTOR, f"#results-table tbody td:nth-child({names.index(name) + 1})")
    return [cell.text for cell in cells if cell.is_displayed()]


def header(page: Chrome, name: str) -> WebElement:
    buttons = page.find_elements(By.CSS_SELECTOR, "#results-table th button")
    return next(button for button in buttons if button.text.replace("\n", "") == name)


def order(page: Chrome) -> dict[str, str]:
    """Return the sorted columns and their directions."""
    headers = page.find_elements(By.CSS_SELECTOR, "#results-table th[aria-sort]")
    return {header.text.replace("\n", ""): str(header.get_attribute("aria-sort")) for header in headers}


def test_headers_sort_numbers_as_numbers_and_missing_values_last(page: Chrome) -> None:
    best = ["0.7450 ± 0.0071", "0.7250 ± 0.0071", "0.7050 ± 0.0071", "0.6450 ± 0.0071", "0.6250 ± 0.0071"]
    best += ["0.6050 ± 0.0071", "0.2000"]
    assert column(page, "best_val_acc") == [*best, "-"] and order(page) == {"best_val_acc": "descending"}
    header(page, "best_val_acc").click()
    assert column(page, "best_val_acc") == [*reversed(best), "-"] and order(page) == {"best_val_acc": "ascending"}
    header(page, "optimizer.lr").click()
    rates = ["0.0005"] * 2 + ["0.001"] * 4 + ["0.01"] * 2
    assert column(page, "optimizer.lr") == rates and order(page) == {"optimizer.lr": "ascending"}
    for key, expected in ((Keys.ENTER, rates[::-1]), (Keys.SPACE, rates)):
        page.switch_to.active_element.send_keys(key)
        assert column(page, "optimizer.lr") == expected
    header(page, "state").send_keys(Keys.ENTER)
    assert column(page, "state") == ["diverged", "failed", *["finished"] * 6]


def test_the_table_is_filtered_by_text_and_by_values(page: Chrome) -> None:
    shown, search = page.find_element(By.ID, "shown"), page.find_element(By.ID, "search")
    search.send_keys("MLP")
    assert column(page, "model") == ["mlp"] * 3 and shown.text == "3 of 8 rows"
    selects = {
        label.text.partition("\n")[0]: Select(label.find_element(By.TAG_NAME, "select"))
        for label in page.find_elements(By.CSS_SELECTOR, "[role=search] label:has(select)")
    }
    assert list(selects) == ["model", "optimizer.lr", "state"]
    assert [option.text for option in selects["optimizer.lr"].options] == ["any", "0.0005", "0.001", "0.01"]
    selects["optimizer.lr"].select_by_visible_text("0.001")
    assert column(page, "optimizer.lr") == ["0.001"] and shown.text == "1 of 8 rows"
    selects["state"].select_by_visible_text("failed")
    assert column(page, "state") == [] and shown.text == "0 of 8 rows"
    page.find_element(By.ID, "clear").click()
    assert len(column(page, "state")) == 8 and selects["state"].first_selected_option.text == "any"
    selects["state"].select_by_visible_text("failed")
    assert column(page, "model") == ["resnet18"]


def test_curves_are_toggled_switched_and_read(page: Chrome) -> None:
    chart, readout = page.find_element(By.ID, "chart"), page.find_element(By.ID, "readout")
    first, *others = page.find_elements(By.CSS_SELECTOR, "#legend button")

    def drawn() -> list[str]:
        return sorted(
            str(series.get_attribute("data-index")) for series in chart.find_elements(By.CSS_SELECTOR, ".series")
        )

    assert drawn() == [str(index) for index in range(8)] and len(others) == 7
    first.click()
    assert drawn() == [str(index) for index in range(1, 8)] and first.get_attribute("aria-pressed") == "false"
    first.send_keys(Keys.SPACE)
    assert "0" in drawn() and first.get_attribute("aria-pressed") == "true"
    values = (
        "model=cnn, optimizer.lr=0.01 (finished): epoch 3, 6 s, validation accuracy 0.745 (0.74 to 0.75 over 2 runs)"
    )
    assert readout.text.startswith(values) and "convergence epoch 3" in readout.text
    assert "active" in str(chart.find_element(By.CSS_SELECTOR, "[data-index='0']").get_attribute("class"))
    first.send_keys(Keys.ARROW_LEFT)
    assert "epoch 2, 4 s" in readout.text

    def label() -> str:
        return str(chart.find_element(By.TAG_NAME, "svg").get_attribute("aria-label"))

    assert label() == "validation accuracy by epoch, 8 of 8 configurations drawn"
    page.find_element(By.CSS_SELECTOR, "input[value=seconds]").click()
    page.find_element(By.CSS_SELECTOR, "input[value=val_acc]").send_keys(Keys.ARROW_RIGHT)
    assert label() == "training loss by training seconds, 8 of 8 configurations drawn"
    page.find_element(By.CSS_SELECTOR, "[data-first='0']").click()
    assert drawn() == [] and "0 of 8" in label()
    first.click()
    ActionChains(page).move_to_element(chart.find_element(By.CSS_SELECTOR, ".series .dot")).perform()
    assert readout.text.startswith("model=cnn, optimizer.lr=0.01 (finished): epoch 1")
    ActionChains(page).move_to_element(page.find_element(By.TAG_NAME, "h1")).perform()
    assert readout.text.startswith("Hover over a line")


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (400, "light"), (1280, "dark")])
def test_the_page_fits_and_is_saved_as_a_picture(width: int, scheme: str, page: Chrome, tmp_path: Path) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    shade = page.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert shade == {"light": "rgba(255, 255, 255, 1)", "dark": "rgba(22, 24, 26, 1)"}[scheme]
    captured = page.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not page.find_element(By.ID, "search").is_displayed()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    picture = base64.b64decode(captured["data"])
    assert picture.startswith(b"\x89PNG") and len(picture) > 50_000
    name = "report.png" if (width, scheme) == (1280, "light") else f"report-{width}-{scheme}.png"
    try:
        (REPOSITORY / "build").mkdir(exist_ok=True)
        (REPOSITORY / "build" / name).write_bytes(picture)
    except OSError:
        (tmp_path / name).write_bytes(picture)


def test_hostile_records_are_text_in_a_browser(browser: Chrome, tmp_path: Path) -> None:
    hostile(tmp_path)
    browser.get(write_report(tmp_path).as_uri())
    with pytest.raises(NoAlertPresentException):
        _ = browser.switch_to.alert
    assert ALERT in browser.find_element(By.TAG_NAME, "main").text
    assert not browser.find_elements(By.CSS_SELECTOR, "img, [onerror], script[src]")
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 2
    select = Select(browser.find_element(By.CSS_SELECTOR, "[role=search] select"))
    select.select_by_index(1)
    assert browser.find_element(By.ID, "shown").text == "1 of 4 rows"
    browser.find_element(By.CSS_SELECTOR, "#legend button").send_keys(Keys.ARROW_LEFT)
    assert ALERT in browser.find_element(By.ID, "readout").text
    assert console(browser) == []


def test_the_policy_blocks_foreign_scripts(browser: Chrome, written: str) -> None:
    browser.get(written)
    browser.execute_script(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">');"
        "const made = document.createElement('script'); made.textContent = 'document.title = 2';"
        "document.body.append(made)"
    )
    violations = console(browser)
    assert browser.title == "All runs"
    assert sum("Content Security Policy" in violation for violation in violations) >= 2
