"""The report: everything is on one page, only its own script is executed, and a real browser agrees."""

import base64
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from records import finish
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from support import REPOSITORY, environment

from sweeper.__main__ import main
from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import code_of
from sweeper.summary.columns import RESULTS
from sweeper.summary.report import render, write_report

ALERT = "<script>alert(1)</script>"
HOSTILE = f"""{ALERT}"><img src=x onerror=alert(1)></script>'\n--> {{{{ 7 * 7 }}}} javascript:alert(1) \u2028\ud800"""
RUN_NAME = """"><img src=x onerror=alert(1)>'javascript:alert(1)"""  # as HOSTILE, without what no folder may have
EFFECTIVE: dict[str, Any] = {
    "data": {"name": "digits", "val_size": 200, "fingerprint": "f00d"},
    "model": {"name": "mlp"},
    "activation": {"name": "relu"},
    "optimizer": {"name": "adam", "lr": 0.001},
    "epochs": 3,
    "seed": 0,
}
RUN: dict[str, Any] = {
    "created": 1.8e9,
    "command": "python train.py data=digits",
    "git": {"commit": "c0ffee", "dirty": True},
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "host": "here",
    "device": "x86_64",
    "device_type": "cpu",
    "threads": 2,
    "dataset": {"fingerprint": "f00d", "classes": ["ant", "bee", "cat"], "train": 80, "val": 20, "test": 30},
    "parameters": 12345,
}


@pytest.fixture(autouse=True, scope="module")
def quick_files() -> Iterator[None]:
    """Skip syncing: the files need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def make(
    output_dir: Path,
    run_id: str,
    accs: Sequence[float] = (),
    state: str = "finished",
    error: Any = None,
    **changes: Any,
) -> RunDirectory:
    """Make a run's directory: two-second epochs with these accuracies, a config with these changes, a result."""
    record = RunDirectory(output_dir / "runs" / run_id)
    effective = EFFECTIVE | changes
    record.create({**RUN, "effective": effective, "code": code_of(effective)}, {})
    rows = [
        {"epoch": 1 + index, "val_acc": acc, "train_loss": 1 - acc, "train_seconds": 2.0}
        for index, acc in enumerate(accs)
    ]
    record.write_metrics(rows)
    record.write_status(state=state, error=error)
    write_json(record.folder / "status.json", {**(record.status() or {}), "heartbeat": 1.8e9 + 3600})
    if state == "finished" and accs:
        measured = {"best_val_acc": max(accs), "best_epoch": 1, "test_acc": max(accs) - 0.01, "epochs": len(accs)}
        record.write_result({**measured, "confusion": [[9, 1, 0], [2, 8, 0], [0, 0, 10]]})
    return record


def exercises(output_dir: Path) -> None:
    """Make two models and three rates with two seeds each, two failed runs and a diverged one."""
    for model, gain in (("mlp", 0.0), ("cnn", 0.1)):
        for index, lr in enumerate((0.0005, 0.001, 0.01)):
            for seed in (0, 1):
                accs = [0.4 + gain, 0.5 + gain + index / 100 + seed / 50, 0.6 + gain + index / 50 + seed / 100]
                changes: dict[str, Any] = {
                    "model": {"name": model},
                    "optimizer": {"name": "adam", "lr": lr},
                    "seed": seed,
                }
                make(output_dir, f"{model}-{lr}-s{seed}", accs, **changes)
    trace = 'Traceback (most recent call last):\n  File "loop.py", line 1, in fit\nRuntimeError: out of memory'
    failing = {"model": {"name": "resnet18"}}
    make(output_dir, "resnet18-s0", [0.3], "failed", trace, **failing)
    make(output_dir, "resnet18-s1", [], "failed", trace, **failing, seed=1)
    make(output_dir, "softmax-s0", [0.2, 0.1], "diverged", "Diverged: the loss is nan", model={"name": "softmax"})


def report(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "sweeper", "report", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)


class Page(HTMLParser):
    """The elements of a page: tags with their attributes, the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.handle_starttag(f"/{tag}", [])  # the text that follows is not part of it

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        pairs = zip(self.elements, self.texts, strict=True)
        return [(attributes, text) for (name, attributes), text in pairs if name == tag]


def check_harmless(page: Page) -> None:
    """Check that only the page's own script is executed, that nothing is fetched, and that the policy demands both."""
    scripts = page.of("script")
    assert [attributes.get("type") for attributes, _ in scripts] in ([None], ["application/json", None])
    for tag, attributes in page.elements:
        assert tag not in ("img", "iframe", "object", "embed", "form", "base")
        assert not any(name.startswith("on") or name in ("style", "src", "action") for name in attributes)
        assert str(attributes.get("href", "#")).startswith(("#", "data:,"))
    (policy,) = [
        str(attributes["content"])
        for attributes, _ in page.of("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for kind, text in (("style", page.of("style")[0][1]), ("script", scripts[-1][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_everything_is_on_the_page(tmp_path: Path) -> None:
    exercises(tmp_path)
    text = render(tmp_path)
    page = Page(text)
    check_harmless(page)
    assert "://" not in text
    text_of_page = " ".join(page.texts)
    for expected in (
        "digits, 80 training + 20 validation + 30 test images of 3 classes",
        "15: 1 diverged, 2 failed, 12 finished",
        "78.0 s (0:01:18) in total",
        "0.0005, 0.001, 0.01",
        "best_val_acc is optimistic",
        "Mean ± standard deviation over the runs that differ only in seed",
        "0.7450 ± 0.0071",
        "2 failed: RuntimeError: out of memory",
        'File "loop.py", line 1, in fit',
        "c0ffee, with uncommitted changes",
        "x86_64 (cpu)",
        "python train.py data=digits",
        "The last run ended 2027-01-15 09:00 UTC.",
    ):
        assert expected in text_of_page
    assert text.count('<svg class="interval') >= 4 and "model=mlp" in text_of_page
    defined = " ".join(text for _, text in page.of("dt")) + " ".join(text for _, text in page.of("wbr"))
    assert all(part in defined for name in RESULTS for part in name.split("_"))


def test_a_lost_run_is_among_the_failures(tmp_path: Path) -> None:
    exercises(tmp_path)
    record = finish(tmp_path, "gone", [0.5])
    write_json(
        record.folder / "status.json",
        (record.status() or {}) | {"state": "running", "heartbeat": 1e9, "pid": 2**22 + 1},
    )
    assert "1 lost: process disappeared without reporting a status" in " ".join(Page(render(tmp_path)).texts)


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        exercises(tmp_path / folder)
    shutil.copytree(tmp_path / "first", tmp_path / "third")
    pages = {write_report(tmp_path / folder).read_bytes() for folder in ("first", "second", "third", "first")}
    assert len(pages) == 1


def test_a_sweep_has_its_own_runs_and_command_and_needs_no_torch(tmp_path: Path) -> None:
    exercises(tmp_path)
    job = {
        "action": "train",
        "reason": "new",
        "epoch": None,
        "changed": [],
        "epochs": 3,
        "seconds": None,
        "heartbeat": None,
        "overrides": ["model=mlp"],
    }
    jobs = [job | {"run_id": run_id} for run_id in ("mlp-0.001-s0", "cnn-0.001-s0", "later")]
    jobs += [job | {"run_id": "", "action": "excluded"}, job | {"run_id": "later", "action": "duplicate"}]
    folder = tmp_path / "sweeps/few"
    folder.mkdir(parents=True)
    command = "python train.py -m model=mlp,cnn"
    write_json(folder / "sweep.json", {"command": command, "created": 1.0, "concurrency": 1, "jobs": jobs})
    done = report("few", "--output-dir", str(tmp_path), "--output", str(tmp_path / "deep/few.html"))
    assert done.stdout.strip() == str(tmp_path / "deep/few.html") and done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "jinja2" in imported and not imported & {"torch", "torchvision", "hydra", "matplotlib"}
    text = (tmp_path / "deep/few.html").read_text(encoding="utf-8")
    assert f"<pre>{command}</pre>" in text and "Sweep few" in text and "mlp-0.01-s0" not in text
    assert "5, 1 excluded, 1 duplicate, 1 without a readable run yet" in text
    with pytest.raises(UserError, match=r"sweep none not found in .*; choose from few"):
        write_report(tmp_path, "none")


def test_no_runs_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sweeper", "report", "--output-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert re.fullmatch(f"error: there are no runs in {tmp_path}/runs; train one: .*", str(ended.value.code))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "runs",
    [
        [("one", [0.5], "finished")],
        [("one", [], "failed")],
        [("one", [], "failed"), ("two", [0.2], "diverged"), ("three", [], "interrupted")],
        [("nan", [math.nan, 0.5], "failed"), ("none", [], "finished"), ("good", [0.5, 0.5], "finished")],
    ],
)
def test_few_and_bad_runs_have_a_page(runs: list[tuple[str, list[float], str]], tmp_path: Path) -> None:
    for index, (name, accs, state) in enumerate(runs):
        make(tmp_path, name, accs, state, optimizer={"name": "adam", "lr": math.nan if index else None})
    page = Page(render(tmp_path))
    check_harmless(page)
    assert all(any(name in text for text in page.texts) for name, *_ in runs)
    for attributes, text in page.of("script"):
        if attributes.get("type") is not None:
            json.loads(text, parse_constant=pytest.fail)


def test_warnings_of_the_caption_are_on_the_page(tmp_path: Path) -> None:
    for seed in (0, 1):
        record = make(tmp_path, f"run-{seed}", [0.5], data={"name": "digits", "val_size": 0}, seed=seed)
        run = record.run() or {}
        run["code"]["core"]["training/loop.fit"] = "before"
        write_json(record.folder / "run.json", run)
    (tmp_path / "runs/notes").mkdir()
    texts = " ".join(Page(render(tmp_path)).texts)
    assert "Runs with data.val_size=0 selected their best epoch on test images" in texts
    assert "2 stale: trained with different code" in texts
    assert "stale; changed: training/loop.fit" in texts
    assert "not readable as runs: notes" in texts


NONSENSE: list[Any] = [None, [], [[]], 7, [[1, 2]], [[1, "2"], [3, 4]], [[1, -2], [3, 4]]]


@pytest.mark.parametrize(
    "confusion, expected",
    [
        *((nonsense, "") for nonsense in NONSENSE),
        ([[1, 2], [3, 4]], "true \\ predicted 0 1 recall 0 1 2 0.3333 1 3 4 0.5714"),
        (
            [[5, 0, 0], [0, 0, 0], [2, 0, 2]],
            "true \\ predicted ant bee cat recall ant 5 0 0 1.0000 bee 0 0 0 - cat 2 0 2 0.5000",
        ),
        ([[1] * 101] * 101, "101 classes are too many to show"),
    ],
)
def test_any_confusion_matrix_has_a_page(confusion: Any, expected: str, tmp_path: Path) -> None:
    make(tmp_path, "a-run", [0.5]).write_result({"confusion": confusion})
    texts = " ".join(" ".join(Page(render(tmp_path)).texts).split())
    assert ("Confusion matrix of the best run" in texts) == bool(expected) and expected in texts


def hostile(output_dir: Path) -> None:
    """Make runs of which every text is an attack."""
    texts: dict[str, Any] = {"data": {"name": HOSTILE, "fingerprint": HOSTILE}, "activation": {"name": HOSTILE}}
    for number, lr in enumerate((0.1, HOSTILE)):
        model = {"name": f"{number}{HOSTILE}", HOSTILE: HOSTILE}
        changes = texts | {"model": model, "optimizer": {"name": "adam", "lr": lr}, HOSTILE: number}
        record = make(output_dir, f"{number}{RUN_NAME}", [0.5, 0.6], **changes)
        run = json.loads((record.folder / "run.json").read_text())
        run |= dict.fromkeys(("command", "host", "device", "device_type", "threads"), HOSTILE)
        run |= {
            "git": {"commit": HOSTILE, "dirty": HOSTILE},
            "versions": {HOSTILE: HOSTILE},
            "code": {HOSTILE: HOSTILE},
        }
        run["dataset"] = {"classes": [HOSTILE] * 3, "train": HOSTILE, "input_shape": HOSTILE, "fingerprint": HOSTILE}
        write_json(record.folder / "run.json", run)
    make(output_dir, f"failed{RUN_NAME}", [0.3], "failed", f"{HOSTILE}\n{HOSTILE}", **texts)
    make(output_dir, f"odd{RUN_NAME}", [0.3], HOSTILE, HOSTILE, **texts)
    (output_dir / "runs" / f"foreign{RUN_NAME}").mkdir()


def test_no_text_of_a_record_is_interpreted(tmp_path: Path) -> None:
    hostile(tmp_path)
    text = render(tmp_path)
    page = Page(text)
    check_harmless(page)
    assert "49" not in "".join(page.texts[:20]) and "{{ 7 * 7 }}" in text
    assert sum(HOSTILE.partition("\n")[0] in text for text in page.texts) > 10
    assert ALERT not in text and "<img" not in text


def test_500_runs_are_a_small_page_in_seconds(tmp_path: Path) -> None:
    for number in range(500):
        accs = [0.5 + 0.4 * (1 - 1 / epoch) + number / 10_000 for epoch in range(1, 101)]
        changes: dict[str, Any] = {
            "optimizer": {"name": "adam", "lr": (1 + number // 5) / 1000},
            "seed": number % 5 if number < 400 else 0,
        }
        make(tmp_path, f"run-{number}", accs, **changes, width=number if number >= 400 else 0)
    started = time.process_time()  # whatever the machine does besides
    file = write_report(tmp_path)
    assert time.process_time() - started < 5
    assert file.stat().st_size < 5_000_000


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
    assert readout.text.startswith("Point at a line")


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
