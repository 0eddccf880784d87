"""Every page of the studio in headless Chromium: what people do there, by pointer, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browser_pages import PAGES
from studio_runs import make_pairs

pytestmark = [pytest.mark.system]
Opens = Callable[..., Any]


def until(page: Any, told: str) -> None:
    """Wait for a sentence of JavaScript to hold; Playwright's own would be stopped by the page's policy."""
    for _ in range(300):
        if page.evaluate(told):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never: {told}")


def make(studio: Any, model: str) -> Any:
    page = studio.go(f"#/make/{model}")
    page.click("form >> button:has-text('Make')")
    page.wait_for_selector(
        "section[aria-label=Pieces] .piece, section[aria-label=Pieces] table, section[aria-label=Pieces] svg"
    )
    return page


@pytest.mark.parametrize("place", PAGES)
@pytest.mark.slow
def test_everybody_can_use_it(opens: Opens, place: str) -> None:
    light = opens()
    light.go(place)
    light.page.wait_for_timeout(500)
    assert light.faults() == []
    dark = opens(color_scheme="dark")
    dark.go(place)
    assert dark.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 18, 16)"
    dark.page.wait_for_timeout(300)
    assert dark.faults() == []
    phone = opens(viewport={"width": 320, "height": 640})
    phone.go(place)
    phone.page.wait_for_timeout(300)
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 320
    assert phone.faults() == []


def test_the_checks_find_planted_faults(opens: Opens) -> None:
    page = opens()
    page.go()
    page.page.evaluate(
        """() => {
          const main = document.querySelector("main");
          main.insertAdjacentHTML("beforeend", `<button></button><img src="/studio/icon.svg"><h4>Deep</h4><input id="twice"><p id="twice">x</p>
            <p style="color:#999;background:#fff">pale</p><a href="#/" tabindex="3">first<button>in</button></a><ul><p>no item</p></ul>
            <div style="overflow:auto;height:20px"><p style="height:90px">long</p></div><label for="nowhere">l</label><h1>Second</h1>
            <button style="width:12px;height:12px;min-height:0;padding:0">x</button>
            <div style="background:#fff"><input aria-label="pale edge" style="border:1px solid #ddd"></div>`);
          document.documentElement.lang = "";
        }"""
    )
    told = " | ".join(page.faults())
    for rule in ("a control has a name", "a picture has an alternative", "headings go down by one", "ids are there once", "text stands out",
                 "the order of focus", "controls do not stand in controls", "a list has items", "can be reached by keyboard",
                 "what is referred to is there", "one first heading", "large enough", "edge of a field", "says its language"):  # fmt: skip
        assert rule in told, rule


def test_gallery_shows_measures_states_and_what_is_damaged(opens: Opens) -> None:
    page = opens().go()
    card = page.locator("[data-run=digits-vae]")
    assert "0.87" in card.inner_text()
    assert "0.81 to 0.92" in card.inner_text()
    assert card.locator("img").count() == 1
    broken = page.locator("[data-run=broken]").inner_text()
    assert "damaged" in broken
    assert "truncated" in broken
    page.fill("#find", "table")
    assert page.locator("li.run:visible").count() == 1
    page.click("text=wine")
    page.wait_for_selector("h1:has-text('wine')")


def test_pictures_are_made_enlarged_and_saved(opens: Opens) -> None:
    page = make(opens(), "digits-vae")
    assert page.locator(".piece img").count() == 16
    first = page.evaluate("document.querySelectorAll('.piece')[3].textContent")
    assert "seed 3" in first
    page.select_option("form >> select", index=0)
    page.locator(".piece .look").first.click()
    box = page.locator("dialog.zoom")
    assert "seed 0" in box.inner_text()
    page.keyboard.press("ArrowRight")
    assert "seed 1" in box.inner_text()
    with page.expect_download() as saved:
        box.locator("button:has-text('Download')").click()
    assert saved.value.suggested_filename == "digits-vae-1.png"
    assert Path(saved.value.path()).read_bytes()[:4] == b"\x89PNG"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.zoom", state="detached")  # the browser says that it is closed when it comes to it


@pytest.mark.slow
def test_a_seed_is_the_same_piece_alone_and_a_condition_is_asked_for(opens: Opens) -> None:
    page = make(opens(), "digits-vae")
    look = "async (i) => { const m = document.querySelectorAll('.piece img')[i]; await m.decode(); const c = new OffscreenCanvas(8, 8), t = c.getContext('2d'); t.drawImage(m, 0, 0); return t.getImageData(0, 0, 8, 8).data.join(); }"
    among = page.evaluate(look, 5)
    page.fill("label:has-text('Seed') + input", "5")
    page.fill("label:has-text('How many') + input", "1")
    page.click("form >> button:has-text('Make')")
    until(page, "document.querySelectorAll('.piece').length === 1")
    assert page.evaluate(look, 0) == among
    page.select_option("label:has-text('Ask for') + select", label="7")
    page.click("form >> button:has-text('Make')")
    page.wait_for_selector(".piece:has-text('seed 5 · 7')")


@pytest.mark.slow
def test_a_picture_is_given_and_what_is_made_of_it_differs(opens: Opens, folder: Path, tmp_path: Path) -> None:
    make_pairs(folder / "shapes")
    page = opens().go("#/make/shapes")
    page.fill("label:has-text('How many') + input", "1")
    looks = []
    for name, shade in (("black", 0), ("white", 255)):
        Image.new("L", (20, 12), shade).save(tmp_path / f"{name}.png")
        page.set_input_files("input[type=file]", tmp_path / f"{name}.png")
        page.wait_for_selector(f"img[alt='what is given: {name}.png']")
        page.click("form >> button:has-text('Make')")
        page.wait_for_selector("section[aria-label=Pieces]:not([aria-busy]) .piece:has-text('a picture')")
        looks.append(page.locator(".piece img").get_attribute("src"))
        page.evaluate("document.querySelector('section[aria-label=Pieces]').replaceChildren()")
    shutil.rmtree(folder / "shapes")
    assert looks[0] != looks[1]


@pytest.mark.slow
def test_music_is_a_roll_that_plays_and_goes_on(opens: Opens) -> None:
    page = make(opens(), "tunes")
    roll = page.locator("piano-roll").first
    assert roll.locator("svg rect[class^=note]").count() >= 1
    assert "notes from" in roll.inner_text()
    roll.locator("button:has-text('Play')").click()
    assert roll.locator("button[aria-pressed=true]").inner_text() == "Stop"
    roll.locator("button:has-text('Stop')").click()
    page.locator("button:has-text('Continue')").first.click()
    page.wait_for_selector("h2:has-text('Continued'), .trouble")
    assert page.locator(".trouble").count() == 0


@pytest.mark.slow
def test_midi_is_read_rightly(opens: Opens) -> None:
    mido = pytest.importorskip("mido")
    import io

    file = mido.MidiFile(type=1, ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    track.append(mido.Message("program_change", program=40, channel=2))
    track.append(mido.Message("note_on", note=60, velocity=100, channel=2, time=0))
    track.append(mido.Message("note_on", note=64, velocity=64, channel=2, time=480))  # half a second later
    track.append(mido.Message("note_on", note=60, velocity=0, channel=2, time=0))
    track.append(mido.MetaMessage("set_tempo", tempo=1_000_000, time=0))
    track.append(mido.Message("note_off", note=64, channel=2, time=480))  # a second at half the tempo
    held = io.BytesIO()
    file.save(file=held)
    page = opens().go()
    notes = page.evaluate(
        "async (data) => (await import('/studio/music.js')).readMidi(new Uint8Array(data)).notes", list(held.getvalue())
    )
    assert [(n["pitch"], n["start"], n["end"], n["program"]) for n in notes] == [(60, 0, 0.5, 40), (64, 0.5, 1.5, 40)]


@pytest.mark.slow
def test_the_spectrum_is_that_of_the_sound(opens: Opens) -> None:
    import numpy as np

    x = np.random.default_rng(0).normal(size=64)
    page = opens().go()
    got = page.evaluate(
        "async (x) => { const { fft } = await import('/studio/sound.js'); const re = Float64Array.from(x), im = new Float64Array(x.length); fft(re, im); return [[...re], [...im]] }",
        x.tolist(),
    )
    assert np.allclose(np.array(got[0]) + 1j * np.array(got[1]), np.fft.fft(x))


@pytest.mark.slow
def test_sound_has_a_wave_a_spectrum_and_a_player(opens: Opens) -> None:
    page = make(opens(), "tones")
    sound = page.locator("sound-view").first
    until(page, "document.querySelector('sound-view canvas')?.getAttribute('aria-label').includes('peak')")
    assert "Spectrogram from 0 to 8 kHz" in sound.locator("canvas.spectrum").get_attribute("aria-label")
    assert page.evaluate("document.querySelector('sound-view audio').duration") > 0.5


@pytest.mark.slow
def test_tables_stand_beside_real_columns(opens: Opens) -> None:
    page = make(opens(), "wine")
    assert page.locator("table tbody tr").count() == 50
    page.wait_for_selector(".columns figure")
    assert page.locator(".columns figure").count() == 14
    assert page.locator(".columns rect.real").count() > 100
    assert "apart" in page.locator(".columns figure").first.inner_text()


@pytest.mark.slow
def test_texts_can_begin_with_ones_own_words(opens: Opens) -> None:
    page = make(opens(), "grammar")
    page.fill("#begun", "the cat")
    page.click("form >> button:has-text('Make')")
    until(page, "[...document.querySelectorAll('.piece .text')].every((t) => t.textContent.startsWith('the cat'))")


@pytest.mark.slow
def test_the_map_is_dragged_through_and_interpolated(opens: Opens) -> None:
    page = opens().go("#/map/digits-vae")
    page.click("button:has-text('Show the plane')")
    page.wait_for_selector("#where:has-text('50 % of the way to B')")
    assert page.locator(".plane .cells img").count() == 49
    before = page.locator("#here img").get_attribute("src")
    box = page.locator("#plane").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.25, steps=4)
    page.mouse.up()
    page.wait_for_selector("#where:has-text('90 % of the way to B, 25 % of the way to C')")
    assert page.locator("#here img").get_attribute("src") != before
    page.locator("#plane").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_selector("#where:has-text('70 % of the way to B')")
    steps = page.locator(".strip button")
    assert steps.count() == 12
    steps.nth(7).click()
    assert steps.nth(7).get_attribute("aria-pressed") == "true"
    with page.expect_download() as saved:
        page.click("button:has-text('Download as one picture')")
    assert Path(saved.value.path()).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_inpainting_by_pointer_changes_only_what_is_painted(opens: Opens) -> None:
    page = opens().go("#/inpaint/digits-diffusion")
    page.wait_for_selector("canvas[data-source]")
    box = page.locator(".easel").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.8)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.8, steps=6)
    page.mouse.up()
    page.wait_for_selector("#painted:has-text('% of the picture')")
    page.click("button:has-text('Make it anew')")
    page.wait_for_selector("section[aria-label=Versions] .piece")
    kept, changed, *told = page.evaluate(
        """async () => {
          const draw = async (image) => { const c = new OffscreenCanvas(8, 8), t = c.getContext("2d"); t.drawImage(image, 0, 0); return t.getImageData(0, 0, 8, 8).data; };
          const made = document.querySelector("section[aria-label=Versions] img"); await made.decode();
          const [a, b] = [await draw(document.querySelector(".easel canvas")), await draw(made)];
          const rows = Array.from({ length: 8 }, (_, y) => a.slice(y * 32, y * 32 + 32).some((v, i) => Math.abs(v - b[y * 32 + i]) > 1));
          return [rows.slice(0, 4).every((r) => !r), rows.slice(5).some((r) => r), rows, [...a].filter((_, i) => i % 4 === 0), [...b].filter((_, i) => i % 4 === 0)];
        }"""
    )
    assert kept, told
    assert changed, told


def test_inpainting_by_keyboard(opens: Opens) -> None:
    page = opens().go("#/inpaint/digits-diffusion")
    page.wait_for_selector("canvas[data-source]")
    page.click("button:has-text('Make it anew')")
    page.wait_for_selector(".trouble:has-text('Nothing is painted')")
    page.locator("canvas[role=application]").focus()
    for key in ("ArrowDown", "Shift+ArrowRight", "Space"):
        page.keyboard.press(key)
    page.wait_for_selector("#painted:has-text('% of the picture')")
    page.keyboard.press("Delete")
    page.wait_for_selector("#painted:has-text('Nothing is painted')")


@pytest.mark.slow
def test_chat_arrives_as_it_is_written(opens: Opens) -> None:
    studio = opens()
    page = studio.go("#/chat/grammar")
    page.evaluate(
        "() => { window.lengths = []; new MutationObserver(() => { const w = document.querySelector('.said.assistant .words'); if (w) window.lengths.push(w.textContent.length); }).observe(document.querySelector('.talk'), { childList: true, subtree: true, characterData: true }); }"
    )
    page.fill("#words", "the cat sees")
    page.keyboard.press("Enter")
    page.wait_for_selector(".said.assistant:not([aria-busy])")
    assert len(set(page.evaluate("window.lengths"))) > 2  # in parts
    assert page.locator("[role=log]").get_attribute("aria-label") == "Conversation"
    page.fill("#words", "long " * 500)
    page.keyboard.press("Enter")
    page.wait_for_selector(".trouble")
    assert page.input_value("#words").startswith("long long")  # nothing is lost
    assert all("400" in wrong for wrong in studio.wrong)
    studio.wrong.clear()


@pytest.mark.slow
def test_the_bot_cites_is_rated_and_calls_a_person(opens: Opens) -> None:
    page = opens().go("#/chat/bot")
    page.wait_for_selector(".said.assistant")  # the welcome

    def say(text: str) -> Any:
        page.fill("#words", text)
        page.keyboard.press("Enter")
        page.wait_for_selector(f".said.user:has-text('{text}') + .said.assistant:not([aria-busy])")
        return page.locator(".said.assistant").last

    answer = say("Where is my order FM1234?")
    assert "on its way" in answer.inner_text()
    assert "Source" in answer.inner_text()
    answer.locator("button[aria-label='Good answer']").click()
    answer.locator("button[aria-label='Good answer'][aria-pressed=true]").wait_for()
    answer.locator("button:has-text('Mend it')").click()
    answer.locator("textarea").fill("It is on its way, and comes on Monday.")
    answer.locator("button:has-text('Keep')").click()
    answer.locator("text=Kept").wait_for()
    page.click("button:has-text('Talk to a person')")
    page.wait_for_selector("text=A person was called")
    desk = opens().go("#/review")
    desk.locator("button:has-text('Take it over')").first.click()
    desk.locator("li textarea").first.fill("This is Mara. How can I help?")
    desk.locator("button:has-text('Answer')").first.click()
    page.wait_for_selector(".said.person:has-text('This is Mara')")
    desk.locator("button:has-text('Give it back')").first.click()
    desk.wait_for_selector("text=Nobody waits.")


@pytest.mark.slow
def test_a_training_is_begun_watched_stopped_and_resumed(opens: Opens, folder: Path) -> None:
    page = opens().go("#/training")
    page.select_option("#recipe", "ring-flow")
    page.fill("#run-name", "fresh")
    page.fill("#steps", "4000")
    page.uncheck("#judge")
    page.click("button:has-text('Train')")
    page.wait_for_selector("h1:has-text('fresh')")
    page.wait_for_selector("loss-curve .plot svg.main-svg", timeout=120_000)
    page.wait_for_selector(".lately:has-text('left')", timeout=60_000)
    page.click("button:has-text('Stop, with a checkpoint')")
    page.wait_for_selector(".state:has-text('paused')", timeout=60_000)
    assert (folder / "fresh" / "model.safetensors").exists()
    page.click("button:has-text('Resume')")
    page.wait_for_selector(".state:has-text('training')", timeout=60_000)
    page.click("button:has-text('Stop, with a checkpoint')")
    page.wait_for_selector(".state:has-text('paused')", timeout=90_000)


def test_a_mistake_is_told_where_it_was_made(opens: Opens) -> None:
    studio = opens()
    page = studio.go("#/training")
    page.select_option("#recipe", "ring-flow")
    page.fill("#run-name", "wine")
    page.click("button:has-text('Train')")
    page.wait_for_selector("form .trouble:has-text('there is a run called wine already')")
    page = studio.go("#/run/nowhere")
    page.wait_for_selector("[role=alert]:has-text('no run called')")
    assert all("40" in wrong for wrong in studio.wrong)
    studio.wrong.clear()


@pytest.mark.slow
def test_a_key_is_asked_for_and_kept_for_the_tab(opens: Opens, locked: str) -> None:
    studio = opens(locked)
    page = studio.go()
    page.wait_for_selector("[role=alert]:has-text('Use the button Key')")
    page.click("#key")
    assert page.evaluate("document.activeElement.closest('dialog')?.id") == "key-box"
    page.fill("#key-field", "good")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-run=digits-vae] img")
    assert page.evaluate("[sessionStorage.length, Object.keys(localStorage).includes('bottega-key')]") == [1, False]
    shown = page.locator("#nav a").all_inner_texts()
    assert "Runs" in shown
    assert "Make" not in shown  # a viewer may not
    page.goto(f"{locked}/studio#/make")
    page.wait_for_selector("text=A viewer may not make")
    page.reload()
    page.wait_for_selector("main h1")
    assert all("401" in wrong for wrong in studio.wrong)
    studio.wrong.clear()


def test_by_keyboard_alone(opens: Opens) -> None:
    page = opens().go()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page = opens().go()
    for _ in range(4):  # skip, brand, Runs, Make
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Make"
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Make')")
    assert page.evaluate("document.activeElement.tagName") == "H1"  # told to who listens
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        name, seen = page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(e);
              return [e.textContent.trim() || e.labels?.[0]?.textContent || e.id, s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2]; }"""
        )
        assert seen, f"the focus on {name} is not seen"
        reached.append(name)
        if name == "Make":
            break
    assert reached[-1] == "Make"
    page.keyboard.press("Enter")
    page.wait_for_selector(".piece, table, .dots svg")


@pytest.mark.slow
def test_light_and_dark_by_the_switch(opens: Opens) -> None:
    page = opens().go()
    assert page.get_attribute("#theme", "aria-pressed") == "false"
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    page.wait_for_selector("main h1")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.slow
def test_reduced_motion_is_still(opens: Opens) -> None:
    page = opens(reduced_motion="reduce").go()
    assert page.evaluate("document.getAnimations().length") == 0
