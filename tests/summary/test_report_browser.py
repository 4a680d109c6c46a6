"""The report in a real browser: sorting, filtering, curves, pictures, and nothing foreign is executed."""

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_core_python.selenium import Axe
from processes import REPOSITORY
from reports import ALERT, exercises, hostile, scenes
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
    names = [header.text.replace("\n", "") for header in page.find_elements(By.CSS_SELECTOR, ".sortable th")]
    cells = page.find_elements(By.CSS_SELECTOR, f".sortable tbody td:nth-child({names.index(name) + 1})")
    return [cell.text for cell in cells if cell.is_displayed()]


def header(page: Chrome, name: str) -> WebElement:
    buttons = page.find_elements(By.CSS_SELECTOR, ".sortable th button")
    return next(button for button in buttons if button.text.replace("\n", "") == name)


def order(page: Chrome) -> dict[str, str]:
    """Return the sorted columns and their directions."""
    headers = page.find_elements(By.CSS_SELECTOR, ".sortable th[aria-sort]")
    return {header.text.replace("\n", ""): str(header.get_attribute("aria-sort")) for header in headers}


def test_headers_sort_numbers_as_numbers_and_missing_values_last(page: Chrome) -> None:
    best = [f"{acc} ± 0.7" for acc in (74.5, 72.5, 70.5, 64.5, 62.5, 60.5)] + ["20.0"]
    name = "best_val_acc (%)"
    assert column(page, name) == [*best, "-"] and order(page) == {name: "descending"}
    header(page, name).click()
    assert column(page, name) == [*reversed(best), "-"] and order(page) == {name: "ascending"}
    header(page, "optimizer.lr").click()
    rates = ["0.0005"] * 2 + ["0.001"] * 4 + ["0.01"] * 2
    assert column(page, "optimizer.lr") == rates and order(page) == {"optimizer.lr": "ascending"}
    for key, expected in ((Keys.ENTER, rates[::-1]), (Keys.SPACE, rates)):
        page.switch_to.active_element.send_keys(key)
        assert column(page, "optimizer.lr") == expected
    header(page, "state").send_keys(Keys.ENTER)
    assert column(page, "state") == ["diverged", "failed", *["finished"] * 6]


def test_the_table_is_filtered_by_text_and_by_values(page: Chrome) -> None:
    shown, search = page.find_element(By.CLASS_NAME, "shown"), page.find_element(By.CLASS_NAME, "search")
    search.send_keys("MLP")
    assert column(page, "model") == ["mlp"] * 3 and shown.text == "3 of 8 configurations"
    selects = {
        label.text.partition("\n")[0]: Select(label.find_element(By.TAG_NAME, "select"))
        for label in page.find_elements(By.CSS_SELECTOR, "[role=search] label:has(select)")
    }
    assert list(selects) == ["model", "optimizer.lr", "state"]
    assert [option.text for option in selects["optimizer.lr"].options] == ["any", "0.0005", "0.001", "0.01"]
    selects["optimizer.lr"].select_by_visible_text("0.001")
    assert column(page, "optimizer.lr") == ["0.001"] and shown.text == "1 of 8 configurations"
    selects["state"].select_by_visible_text("failed")
    assert column(page, "state") == [] and shown.text == "0 of 8 configurations"
    page.find_element(By.CLASS_NAME, "clear").click()
    assert len(column(page, "state")) == 8 and selects["state"].first_selected_option.text == "any"
    selects["state"].select_by_visible_text("failed")
    assert column(page, "model") == ["resnet18"]


def test_a_row_lists_its_runs_and_columns_are_added_on_request(page: Chrome) -> None:
    runs = page.find_element(By.CSS_SELECTOR, ".sortable .runs")
    assert not runs.find_element(By.TAG_NAME, "ul").is_displayed()
    runs.find_element(By.TAG_NAME, "summary").click()
    assert [item.text for item in runs.find_elements(By.TAG_NAME, "li")] == [
        "seed 0: 73.0% cnn-0.01-s0",
        "seed 1: 74.0% cnn-0.01-s1",
    ]
    link = runs.find_element(By.TAG_NAME, "a").get_attribute("href")
    assert str(link).endswith("/runs/cnn-0.01-s0/")
    assert not any(one.is_displayed() for one in page.find_elements(By.CSS_SELECTOR, ".sortable .detail"))
    page.find_element(By.CLASS_NAME, "complete-table").click()
    assert column(page, "parameters")[0] == "12,345"


def drawn(page: Chrome, panel: int = 0) -> list[str]:
    """Return the numbers of the configurations that a panel shows."""
    chart = page.find_elements(By.CLASS_NAME, "chart")[panel]
    return sorted(str(one.get_attribute("data-index")) for one in chart.find_elements(By.CSS_SELECTOR, "[data-index]"))


def titles(page: Chrome) -> list[str]:
    """Return the descriptions of the panels."""
    return [str(one.get_attribute("aria-label")) for one in page.find_elements(By.CSS_SELECTOR, ".chart > svg")]


def test_curves_are_toggled_switched_and_read(page: Chrome) -> None:
    readout = page.find_element(By.CLASS_NAME, "curves-readout")
    first, *others = page.find_elements(By.CSS_SELECTOR, ".lines button")
    assert drawn(page) == drawn(page, 1) == [str(index) for index in range(8)] and len(others) == 7
    first.click()
    assert drawn(page) == [str(index) for index in range(1, 8)] and first.get_attribute("aria-pressed") == "false"
    first.send_keys(Keys.SPACE)
    assert "0" in drawn(page) and first.get_attribute("aria-pressed") == "true"
    values = (
        "model=cnn, optimizer.lr=0.01 (finished): epoch 3, 6 s, validation accuracy 0.745 (0.74 to 0.75 over 2 runs), "
        "training accuracy 0.795 (0.79 to 0.8 over 2 runs), validation loss 0.355 (0.35 to 0.36 over 2 runs), training "
        "loss 0.255 (0.25 to 0.26 over 2 runs); convergence epoch 3"
    )
    assert readout.text == values
    active = page.find_elements(By.CSS_SELECTOR, "[data-active]")
    assert [one.get_attribute("data-active") for one in active] == ["0", "0"]
    assert all(len(one.find_elements(By.CLASS_NAME, "band")) == 2 for one in active)  # of validation and training
    assert len(page.find_elements(By.CLASS_NAME, "band")) == 4  # no other configuration has one
    first.send_keys(Keys.ARROW_LEFT)
    assert "epoch 2, 4 s" in readout.text
    assert titles(page) == [
        "validation accuracy by epoch, 8 of 8 configurations drawn",
        "validation loss by epoch, 8 of 8 configurations drawn",
    ]
    page.find_element(By.CSS_SELECTOR, "input[value=seconds]").click()
    page.find_element(By.CSS_SELECTOR, "input[value=val]").send_keys(Keys.ARROW_RIGHT)
    assert titles(page) == [
        "training accuracy by training seconds, 8 of 8 configurations drawn",
        "training loss by training seconds, 8 of 8 configurations drawn",
    ]
    page.find_element(By.CSS_SELECTOR, "input[value=both]").click()
    series = page.find_element(By.CSS_SELECTOR, ".chart .series[data-index]")
    assert len(series.find_elements(By.CSS_SELECTOR, ".validation, .training")) == 2
    page.find_element(By.CSS_SELECTOR, "[data-first='0']").click()
    assert drawn(page) == [] and "0 of 8" in titles(page)[0]


def test_a_line_is_read_under_the_pointer_and_kept_by_a_click(page: Chrome) -> None:
    readout = page.find_element(By.CLASS_NAME, "curves-readout")
    page.find_element(By.CSS_SELECTOR, "[data-first='0']").click()
    page.find_element(By.CSS_SELECTOR, ".lines button").click()
    heading = page.find_element(By.TAG_NAME, "h1")
    ActionChains(page).move_to_element(page.find_element(By.CSS_SELECTOR, ".chart .series .dot")).perform()
    assert readout.text.startswith("model=cnn, optimizer.lr=0.01 (finished): epoch 1")
    ActionChains(page).move_to_element(heading).perform()
    assert readout.text.startswith("Hover over a line")
    dot = page.find_element(By.CSS_SELECTOR, ".chart .series .dot")
    ActionChains(page).move_to_element(dot).click().move_to_element(heading).perform()
    assert readout.text.startswith("model=cnn, optimizer.lr=0.01 (finished)")
    dot = page.find_element(By.CSS_SELECTOR, ".chart .series .dot")
    ActionChains(page).move_to_element(dot).click().move_to_element(heading).perform()
    assert readout.text.startswith("Hover over a line")


def test_lines_end_with_what_the_drawn_ones_differ_in(page: Chrome) -> None:
    page.set_window_size(1500, 900)
    buttons = page.find_elements(By.CSS_SELECTOR, ".lines button")
    for button in buttons[3:]:
        button.click()
    ActionChains(page).move_to_element(page.find_element(By.TAG_NAME, "h1")).perform()
    labels = [one.text for one in page.find_elements(By.CSS_SELECTOR, ".chart:first-child .end")]
    assert labels == ["1 lr=0.01", "2 lr=0.001", "3 lr=0.0005"]  # all three are of cnn
    buttons[3].click()
    labels = [one.text for one in page.find_elements(By.CSS_SELECTOR, ".chart:first-child .end")]
    assert labels[0] == "1 cnn, lr=0.01" and labels[3] == "4 mlp, lr=0.01"
    page.set_window_size(1280, 900)


def test_brushing_selects_configurations_by_pointer_and_keyboard(page: Chrome) -> None:
    readout, shown = (page.find_element(By.CLASS_NAME, name) for name in ("axes-readout", "shown"))
    hits = page.find_elements(By.CSS_SELECTOR, ".axes .hit")
    handles = page.find_elements(By.CSS_SELECTOR, ".axes .handle")
    names = [str(handle.get_attribute("aria-label")) for handle in handles[::2]]
    assert [name.partition(",")[0] for name in names][:2] == ["model", "optimizer.lr"] and len(hits) == len(names)
    handles[2].send_keys(Keys.ARROW_UP, Keys.ARROW_UP)  # the lowest rate
    assert handles[2].get_attribute("aria-valuetext") == "0.01"
    assert readout.text.startswith("2 of 8 configurations selected: model=cnn, optimizer.lr=0.01")
    assert column(page, "optimizer.lr") == ["0.01", "0.01"] and shown.text == "2 of 8 configurations"
    assert len(page.find_elements(By.CSS_SELECTOR, ".axes .row.out")) == 6
    handles[2].send_keys(Keys.ESCAPE)
    assert shown.text == "8 of 8 configurations"
    height = hits[-1].size["height"]
    drag = ActionChains(page).move_to_element_with_offset(hits[-1], 0, int(-height / 2) + 14)
    drag.click_and_hold().move_by_offset(0, int(height / 3)).release().perform()
    assert set(column(page, "model")) == {"cnn"} and len(column(page, "model")) >= 2
    handle = page.find_elements(By.CSS_SELECTOR, ".axes .handle")[-2]  # the lowest of test accuracy, drawn up a little
    before = handle.get_attribute("aria-valuenow")
    ActionChains(page).drag_and_drop_by_offset(handle, 0, int(-height / 10)).perform()
    assert int(str(handle.get_attribute("aria-valuenow"))) > int(str(before))
    page.find_element(By.CLASS_NAME, "unbrush").click()
    assert shown.text == "8 of 8 configurations" and not page.find_elements(By.CSS_SELECTOR, ".axes .row.out")


def test_a_cell_of_the_confusion_matrix_is_read_under_the_pointer(page: Chrome) -> None:
    readout = page.find_element(By.CLASS_NAME, "matrix-readout")
    cell = page.find_element(By.CSS_SELECTOR, ".heat tbody tr:nth-child(2) td")
    ActionChains(page).move_to_element(cell).perform()
    assert readout.text == "4 of 20 test images of bee (20.0%) are predicted as ant."  # of two seeds


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, page: Chrome) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for details in page.find_elements(By.CSS_SELECTOR, "details:not([open])"):
        page.execute_script("arguments[0].open = true", details)
    found = Axe().run(page)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


@pytest.mark.parametrize("width", [1400, 420])
def test_the_first_verdict_is_visible_at_once(width: int, page: Chrome) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    first = page.find_element(By.CSS_SELECTOR, "#answer .findings li")
    bottom = page.execute_script("return arguments[0].getBoundingClientRect().bottom", first)
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert 0 < bottom < 900 and first.text.startswith(("no effect shown", "raises", "lowers"))


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
    assert not page.find_element(By.CLASS_NAME, "search").is_displayed()
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


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a report of segmentation."""
    folder = tmp_path_factory.mktemp("scenes")
    scenes(folder)
    return write_report(folder).as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (420, "light")])
def test_a_report_of_segmentation_has_its_pictures(width: int, scheme: str, browser: Chrome, segmented: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(segmented)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert "Test mIoU" in browser.find_element(By.CSS_SELECTOR, "#answer").text
    titles = [title.text for title in browser.find_elements(By.TAG_NAME, "h3")]
    assert {"Worst masks", "Training images"} <= {*titles} and "Most confident mistakes" not in titles
    images = browser.find_elements(By.CSS_SELECTOR, ".mistakes img")
    sizes = [(image.size["width"], image.size["height"]) for image in images]
    assert sizes == [(288, 96)] * 12 + [(128, 4 * 34 + 8)] * 3  # a scene beside its mask, above its moved version
    assert all(browser.execute_script("return arguments[0].naturalWidth", image) for image in images)
    violations = Axe().run(browser)["violations"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert [(one["id"], one["nodes"][0]["html"]) for one in violations] == []
    assert console(browser) == []


def test_hostile_records_are_text_in_a_browser(browser: Chrome, tmp_path: Path) -> None:
    hostile(tmp_path)
    browser.get(write_report(tmp_path).as_uri())
    with pytest.raises(NoAlertPresentException):
        _ = browser.switch_to.alert
    assert ALERT in browser.find_element(By.TAG_NAME, "main").text
    assert not browser.find_elements(By.CSS_SELECTOR, "img, [onerror], script[src]")
    assert all(one.get_attribute("type") for one in browser.find_elements(By.TAG_NAME, "script")[:-1])
    select = Select(browser.find_element(By.CSS_SELECTOR, "[role=search] select"))
    select.select_by_index(1)
    assert browser.find_element(By.CLASS_NAME, "shown").text == "1 of 4 configurations"
    browser.find_element(By.CSS_SELECTOR, ".lines button").send_keys(Keys.ARROW_LEFT)
    assert ALERT in browser.find_element(By.CLASS_NAME, "curves-readout").text
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
