"""The report as its readers meet it: in a real browser, by mouse and by keyboard, on a laptop and on a phone.

Skipped where no Chromium is installed.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import nhwc
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import parse_recipe
from nhwc.flows.report import report_html
from nhwc.flows.subject import version_subject

LAPTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    '"><svg onload=alert(2)>\n\x1b[31m\u202e.png',
    "$x^2$ {{ 7*7 }} \\x.png",
    200 * "w" + ".png",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no chromium, chromium-browser or google-chrome is on PATH: this test opens the report in it")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root its sandbox
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=arguments)
        yield browser
        browser.close()


def write_photographs(folder: Path) -> None:
    """Two classes of structured noise, with copies, blank images, a cut file, a text, and names that attack."""
    rng = np.random.default_rng(7)
    names = [*(f"{number:02}.png" for number in range(20)), *HOSTILE]
    for label in ("hill", "sea"):
        (folder / label).mkdir(parents=True)
        for name in names:
            coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            coarse.resize((120, 90), Image.Resampling.BICUBIC).save(folder / label / name, "PNG")
    for number in range(14):
        Image.new("RGB", (120, 90), (9 * number, 90, 90)).save(folder / "sea" / f"blank-{number:02}.png")
    (folder / "hill" / "copy.png").write_bytes((folder / "sea" / "00.png").read_bytes())
    (folder / "hill" / "cut<b>.png").write_bytes((folder / "sea" / "01.png").read_bytes()[:900])
    (folder / "notes.txt").write_text("no image")


@pytest.fixture(scope="module", params=["made", "messy_a"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a report: of pictures made here, and of a folder with every fault where the corpus is at hand."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "made":
        source = folder / "photos"
        write_photographs(source)
    else:
        source = request.getfixturevalue("corpus") / "datasets" / "messy_a" / "data"
    plain: dict[str, Any] = {
        "dataset": "photos",
        "source": {"path": str(source)},
        "image": {"rows": 64, "cols": 64},
        "splits": {"train": 0.8, "test": 0.2} if request.param == "made" else {"from": "folder"},
        "checks": {"bad_fraction": 1, "bad_fraction_per_class": 1},
        "publish": {"to": str(folder / "datasets")},
    }
    version = run_ingest(parse_recipe(plain)).version
    assert version is not None
    subject = version_subject(version, name="datasets/photos", source=source)
    html = report_html(
        subject, nhwc.gate(version.dataset), baseline=version.manifest, reproduce=("nhwc ingest x.yaml",)
    )
    assert len(html.encode()) < 3_000_000
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The report, opened on a laptop; whatever it complains of, asks for or pops up fails the test."""
    complaints: list[str] = []
    page = browser.new_page(viewport=LAPTOP)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: complaints.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    asked = [complaint for complaint in complaints if not complaint.startswith("data:")]
    assert [report.as_uri()] == asked


def shown(page: Page, selector: str) -> list[str]:
    """The texts of the elements that are shown, those in closed details as if these were open."""
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    return page.locator(selector).locator("visible=true").all_inner_texts()


def scrolls_sideways(page: Page) -> bool:
    """Whether the page is wider than its window."""
    wider: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wider


def test_it_opens_without_a_complaint_and_every_picture_is_there(page: Page) -> None:
    """It asks for nothing but itself, runs nothing of a file's name, and every image has pixels."""
    assert "Refused" in page.locator("h1").inner_text()
    assert 0 == page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length")
    assert page.evaluate("document.images.length") > 20
    assert 0 == page.locator("[onerror], [onload], iframe, object, embed").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE])
def test_it_never_scrolls_sideways(page: Page, viewport: Any, scheme: Any) -> None:
    """On a laptop and on a phone, with all lists opened."""
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=scheme)
    assert not scrolls_sideways(page)
    assert shown(page, "tr.item")
    assert not scrolls_sideways(page)


def test_every_link_leads_to_its_place(page: Page) -> None:
    """Clicked, it brings its target into view."""
    links = page.locator("a[href]")
    assert links.count() > 10
    for link in links.all():
        target = str(link.get_attribute("href"))
        assert target.startswith("#")
        link.focus()
        link.press("Enter")
        assert page.url.endswith(target)
        top = page.locator(target).evaluate("(target) => target.getBoundingClientRect().top")
        at_the_end = page.evaluate("innerHeight + scrollY >= document.documentElement.scrollHeight - 2")
        assert -1 <= top < LAPTOP["height"] / 4 or at_the_end, target


def test_typing_a_name_leaves_what_has_it(page: Page) -> None:
    """Pictures, rows and rules without it go, and come back; what is shown is counted aloud."""
    everything = len(shown(page, ".tile")), len(shown(page, "tr.item"))
    said = page.locator("#shown").inner_text()
    assert f"{everything[0]} of {everything[0]} pictures" in said
    name = page.locator("#sample-findings .tile .path").first.inner_text()
    page.locator("#query").fill(name.upper())
    tiles, rows = shown(page, ".tile"), shown(page, "tr.item")
    assert tiles
    assert rows
    assert all(name in text for text in (*tiles, *rows))
    assert len(tiles) < everything[0]
    assert f"{len(tiles)} of {everything[0]} pictures, {len(rows)} of {everything[1]} names" in (
        page.locator("#shown").inner_text()
    )
    page.locator("#query").fill("no file has this name")
    assert ([], [], []) == (shown(page, ".tile"), shown(page, "tr.item"), shown(page, ".group"))
    assert "Nothing here matches the filter." in shown(page, "#samples .unmatched")
    page.locator("#query").fill("")
    assert everything == (len(shown(page, ".tile")), len(shown(page, "tr.item")))
    assert said == page.locator("#shown").inner_text()


def test_a_class_is_found_by_its_name(page: Page) -> None:
    """The filter looks at classes too."""
    label = page.locator("#samples .tile .label").first.inner_text().split(" · ")[0]
    page.locator("#query").fill(label)
    tiles = shown(page, "#samples .tile")
    assert tiles
    assert all(label.lower() in tile.lower() for tile in tiles)


@pytest.mark.parametrize("level", ["refuse", "warn", "left-out", "kept"])
def test_each_level_can_be_hidden(page: Page, level: str) -> None:
    """Unticked, all of that level goes and nothing else; ticked, it comes back."""
    of_it, others = f"[data-level={level}]", f".group:not([data-level={level}])"
    before = len(shown(page, of_it)), len(shown(page, others))
    assert before[0]
    page.locator(f"#filter [value={level}]").uncheck()
    assert (0, before[1]) == (len(shown(page, of_it)), len(shown(page, others)))
    page.locator(f"#filter [value={level}]").check()
    assert before == (len(shown(page, of_it)), len(shown(page, others)))


def test_the_keyboard_is_enough(page: Page) -> None:
    """Tab reaches the link past the head, the filter and every section, each visibly; Space and letters work them."""
    page.keyboard.press("Tab")
    assert "Skip to what was found" == page.evaluate("document.activeElement.textContent")
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    reached = []
    for _ in range(page.locator("a, input, summary").count()):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('href')"))
        outline = page.evaluate(
            "(({outlineStyle, outlineWidth}) => outlineStyle + outlineWidth)(getComputedStyle(document.activeElement))"
        )
        assert outline == "solid3px", reached
        if reached[-1] == "query":
            page.keyboard.type("qqq")
            assert [] == shown(page, ".tile")
            page.keyboard.press("Control+A")
            page.keyboard.press("Delete")
            page.keyboard.press("Tab")
            page.keyboard.press("Space")
            assert [] == shown(page, "[data-level=refuse]")
            page.keyboard.press("Space")
            assert shown(page, "[data-level=refuse]")
        if reached[-1] == "#reproduce":
            break
    assert {"query", "#verdict", "#sample-findings", "#left-out", "#plots", "#samples", "#reproduce"} <= set(reached)


def test_without_scripts_it_is_a_whole_page(browser: Browser, report: Path) -> None:
    """Everything is shown, lists open, and no filter is offered that would do nothing."""
    context = browser.new_context(java_script_enabled=False, viewport=LAPTOP)
    page = context.new_page()
    page.goto(report.as_uri())
    assert not page.locator("#filter").is_visible()
    assert page.locator("#samples .tile").first.is_visible()
    row = page.locator("#sample-findings tr.item").first
    assert not row.is_visible()
    page.locator("#sample-findings summary").first.click()
    assert row.is_visible()
    context.close()


CONTRAST = """(selector) => {
  const luminance = (colour) => {
    const [red, green, blue] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return /, 0\\)$/.test(colour) && element.parentElement ? ground(element.parentElement) : colour;
  };
  return [...document.querySelectorAll(selector)].map((element) => {
    const [one, other] = [luminance(getComputedStyle(element).color), luminance(ground(element))].sort();
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  }).reduce((least, ratio) => Math.min(least, ratio), 21);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out(page: Page, scheme: Any) -> None:
    """Contrast of 4.5 and more (WCAG 2.2, 1.4.3), by the relative luminance that it defines."""
    page.emulate_media(color_scheme=scheme)
    assert (
        page.evaluate(CONTRAST, "p, a, h1, h2, h3, dt, dd, th, td, label, legend, output, summary, figcaption, .badge")
        >= 4.5
    )
