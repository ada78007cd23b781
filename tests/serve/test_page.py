"""The page in a browser: every tab on small models, in light and dark, on a phone, and in Chinese."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

import pytest
import uvicorn

from maskling.serve.app import create_app, listen, url_of
from maskling.serve.service import Service
from served_models import Address, Opened

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)"),
]
PHONE = {"width": 390, "height": 844}
# Axe's rules of WCAG 2.2 AA.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TEXT = "the quick brown fox jumps over the lazy dog"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def opened_page(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """A page in a profile of its own; scripts must run without an error."""
    context = browser.new_context(**options)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.locator("[role=tab]").first.wait_for()
    yield page
    context.close()
    assert errors == []


def settled(page: Any) -> Any:
    """The view that is shown, when its answer is there."""
    panel = page.locator("[role=tabpanel]:not([hidden])")
    playwright.expect(panel.locator("[aria-busy=true]")).to_have_count(0, timeout=60_000)
    return panel


def serious(page: Any) -> list[Any]:
    """What axe finds, but for minor and moderate findings."""
    source = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    # By the debugger: the page's own policy forbids scripts in its source.
    page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": source})
    found = page.evaluate(f"axe.run(document, {{runOnly: {json.dumps(RULES)}}}).then((one) => one.violations)")
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("kind", ["plain", "classify", "pairs", "multi-label", "regress", "tag", "pos", "answer"])
@pytest.mark.parametrize(
    "options",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark", "viewport": PHONE},
        {"color_scheme": "light", "viewport": PHONE, "locale": "zh-CN"},
    ],
    ids=["light", "dark-phone", "chinese-phone"],
)
def test_every_tab_answers_and_is_accessible(
    browser: Any, address: Address, kind: str, options: dict[str, Any]
) -> None:
    with opened_page(browser, address(kind), **options) as page:
        tabs = page.locator("[role=tab]")
        assert tabs.count() == (6 if kind == "plain" else 4)
        for index in range(tabs.count()):
            tabs.nth(index).click()
            panel = settled(page)
            for number, field in enumerate(panel.locator("textarea").all()):
                name = tabs.nth(index).get_attribute("id")
                field.fill(f"{TEXT} [MASK]" if name == "tab-Fill" else f"{TEXT}\na gift" if number else TEXT)
            panel.locator("button.main").click()
            settled(page)
            shown = panel.locator(".sides, .looks")
            shown.first.wait_for(timeout=60_000)
            assert panel.locator(".problem").count() == 0
            assert shown.first.inner_text().strip()
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            assert serious(page) == []
        if options.get("locale") == "zh-CN":
            assert page.evaluate("document.documentElement.lang") == "zh"
            assert "注意力" in tabs.all_inner_texts()


def test_the_answer_stays_below_the_form_after_an_error(browser: Any, address: Address) -> None:
    with opened_page(browser, address("plain")) as page:
        panel = settled(page)
        field, button = panel.locator("textarea"), panel.locator("button.main")
        tops = []
        for text in ["the [MASK] fox", "no mask here", "a lazy [MASK] sees", "no mask", "the [MASK]"]:
            field.fill(text)
            button.click()
            settled(page)
            playwright.expect(panel.locator(".status")).to_contain_text("" if "[MASK]" in text else "MASK")
            if "[MASK]" in text:
                answer = panel.locator(".sides")
                answer.wait_for()
                tops.append(answer.bounding_box()["y"])
                assert field.bounding_box()["y"] < button.bounding_box()["y"] < tops[-1]
            else:
                assert panel.locator(".problem").count() == 1
        assert len(set(tops)) == 1


def test_siblings_stay_in_order_when_the_last_of_several_roots_disappears(browser: Any, address: Address) -> None:
    """The case that the Preact of 2021 in htm's bundle drew in the wrong order."""
    with opened_page(browser, address("plain")) as page:
        order = page.evaluate("""async () => {
            const { html, render, useState } = await import(new URL("page/vendor/htm-preact.js", location.href));
            let set;
            const Several = ({ problem }) => html`<i>1</i><b>2</b>${problem && html`<p>!</p>`}`;
            const View = () => {
                const [state, own] = useState({});
                set = own;
                return html`<h1>0</h1><${Several} problem=${state.problem} />
                    ${state.answer && html`<u>3</u>`}${state.answer && html`<s>4</s>`}`;
            };
            const place = document.createElement("div");
            render(html`<div><${View} /></div>`, place);
            const orders = [];
            for (const state of [{}, { problem: true }, { answer: true }, { problem: true }, { answer: true }]) {
                set(state);
                await new Promise((done) => setTimeout(done, 50));
                orders.push(place.textContent);
            }
            return orders;
        }""")
        assert order == ["012", "012!", "01234", "012!", "01234"]


def test_a_click_masks_a_word_and_a_click_on_a_prediction_fills_it(browser: Any, address: Address) -> None:
    with opened_page(browser, address("plain")) as page:
        panel = settled(page)
        field = panel.locator("textarea")
        field.fill(TEXT)
        panel.get_by_role("button", name="mask fox", exact=True).click()
        assert field.input_value() == TEXT.replace("fox", "[MASK]")
        settled(page)
        rows = panel.locator(".bars button")
        rows.first.wait_for()
        assert "hidden: fox" in panel.inner_text()
        assert not any(text.startswith("##") for text in rows.all_inner_texts())
        panel.get_by_role("button", name="put fox back").click()
        assert field.input_value() == TEXT
        panel.get_by_role("button", name="mask quick", exact=True).click()
        settled(page)
        word = rows.first.locator("span").first.inner_text().split()[0]
        rows.first.click()
        assert field.input_value() == TEXT.replace("quick", word)


def test_a_link_opens_the_same_view_with_the_same_fields(browser: Any, address: Address) -> None:
    with opened_page(browser, address("plain")) as page:
        page.get_by_role("tab", name="Score").click()
        settled(page)
        page.locator("#panel-Score textarea").first.fill("a gift & 50% of #paris 文")
        page.wait_for_timeout(600)
        link = page.url
    with opened_page(browser, link) as page:
        assert page.locator("[role=tab][aria-selected=true]").inner_text() == "Score"
        assert page.locator("#panel-Score textarea").first.input_value() == "a gift & 50% of #paris 文"
        panel = settled(page)
        panel.locator("summary").click()
        assert "/score' -H 'Content-Type: application/json' -d" in panel.locator("pre").inner_text()


def test_tabs_and_heads_by_keyboard(browser: Any, address: Address) -> None:
    with opened_page(browser, address("plain")) as page:
        page.get_by_role("tab", name="Fill").focus()
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        assert page.locator("[role=tab]:focus").inner_text() == "Attention"
        panel = settled(page)
        panel.locator("textarea").fill(TEXT)
        panel.locator("button.main").click()
        settled(page)
        panel.locator(".grid button").first.click()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        settled(page)
        assert panel.locator(".grid [aria-checked=true]").get_attribute("aria-label") == "layer 1, head 1"
        tokens = panel.locator(".tokens button")
        tokens.nth(1).focus()
        page.keyboard.press("End")
        assert tokens.last.get_attribute("aria-checked") == "true"
        values = [float(text) for text in panel.locator(".bars .number").all_inner_texts()]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=0.01)


def test_two_models_side_by_side(browser: Any, opened: Opened) -> None:
    app = create_app(Service.of(opened("plain"), "one"), ["127.0.0.1"], compared=Service.of(opened("plain"), "other"))
    socket = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    try:
        with opened_page(browser, url_of(socket)) as page:
            panel = settled(page)
            panel.locator("textarea").fill("the [MASK] fox")
            panel.locator("button.main").click()
            settled(page)
            sides = panel.locator(".side")
            playwright.expect(sides).to_have_count(2)
            one, other = (side.locator(".bars").inner_text() for side in sides.all())
            assert one == other
            assert panel.locator(".model").all_inner_texts() == ["one", "other"]
            assert serious(page) == []
    finally:
        server.should_exit = True
        thread.join(10)
