"""The chat page of a bot (chapter 24) in headless Chromium: what people write and see, with a key and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.system]
Opens = Callable[..., Any]
LANDMARKS = ("banner", "named navigation", "footer")  # of the studio's pages; a page with one purpose needs none


def visit(studio: Any) -> Any:
    with known(studio.page):
        studio.page.goto(f"{studio.base}/chat/page")
    return studio.page


def say(page: Any, text: str) -> Any:
    """Write a message; the bot's answer to it, when it is whole."""
    before = page.locator("#log li.bot").count()
    page.fill("#text", text)
    page.keyboard.press("Enter")
    answer = page.locator("#log li.bot").nth(before)
    answer.locator("button:has-text('Bad answer')").wait_for()  # they come with the end of an answer
    return answer


def known(page: Any) -> Any:
    """The page finds out whether it needs a key."""
    return page.expect_response("**/v1/chats?limit=1")


def refused(studio: Any, status: str) -> None:
    """A browser reports every answer that is no success; nothing else may have gone wrong."""
    assert studio.wrong
    assert all(status in wrong for wrong in studio.wrong)
    studio.wrong.clear()


def test_a_question_is_answered_with_its_source_and_rated(opens: Opens) -> None:
    page = visit(opens())
    assert page.title() == page.inner_text("h1") == "Fern"
    assert page.inner_text("#welcome")
    answer = say(page, "Where is my order FM1234?")
    assert page.is_hidden("#who")
    assert page.input_value("#text") == ""
    assert "on its way" in answer.inner_text()
    assert "orders.csv" in answer.locator("small").first.inner_text()
    assert page.locator("#log li b").all_inner_texts() == ["You: ", "Bot: "]
    for rating, thumb in (("Good answer", 1), ("Bad answer", -1)):
        answer = say(page, "Where is my order FM1234?")
        with page.expect_response("**/feedback") as kept:
            answer.locator(f"button:has-text('{rating}')").click()
        assert (kept.value.status, kept.value.request.post_data_json) == (200, {"thumb": thumb})
        answer.locator("text=Thank you.").wait_for()
        assert page.evaluate("document.activeElement.id") == "text"  # the button that had the focus is gone


def test_markup_in_a_message_stays_text(opens: Opens) -> None:
    page = visit(opens())
    say(page, "<img src=x onerror=alert(1)> where is my order?")
    assert page.locator("#log img").count() == 0
    assert "<img src=x" in page.locator("#log li.user").inner_text()


def test_a_key_is_asked_for_and_what_was_written_stays(opens: Opens, asks: tuple[str, str]) -> None:
    address, key = asks
    studio = opens(address)
    page = visit(studio)
    page.locator("#state", has_text="This server asks for a key.").wait_for()
    page.fill("#text", "Where is my order FM1234?")
    with known(page):
        page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    assert page.input_value("#text") == "Where is my order FM1234?"
    assert page.locator("#log li").count() == 0
    page.fill("#key", "bad")
    page.click("text=Use this key")
    page.locator("#state", has_not_text="asks for a key").wait_for()
    assert "key" in page.inner_text("#state")
    assert page.is_visible("#who")
    refused(studio, "401")
    page.fill("#key", key)
    page.click("text=Use this key")
    page.locator("#who").wait_for(state="hidden")
    page.click("text=Send")
    page.locator("#log li.bot button").first.wait_for()
    assert "on its way" in page.locator("#log li.bot").inner_text()
    visit(studio)
    say(page, "Where is my order FM1234?")
    assert page.is_hidden("#who")  # kept for the tab
    other = opens(address)
    visit(other).locator("#who").wait_for()  # and for no other
    refused(other, "401")


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 320, "height": 640}}])
def test_everybody_can_use_it(opens: Opens, asks: tuple[str, str], look: dict[str, Any]) -> None:
    studio = opens(**look)
    page = visit(studio)
    say(page, "Where is my order FM1234? " + "x" * 90)
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == ("rgb(18, 18, 18)" if "color_scheme" in look else "rgb(255, 255, 255)")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert [fault for fault in studio.faults() if not fault.endswith(LANDMARKS)] == []
    locked = opens(asks[0], **look)
    visit(locked).locator("#who").wait_for()
    assert [fault for fault in locked.faults() if not fault.endswith(LANDMARKS)] == []
    refused(locked, "401")
