"""What a person who sees or hears a page gets of it: for the tests of several pages."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


def name_of(page: Page, control: Locator) -> str:
    """The accessible name, as Chromium computes it."""
    session = page.context.new_cdp_session(page)
    control.evaluate("each => { window.asked = each }")
    found = session.send("Runtime.evaluate", {"expression": "window.asked"})["result"]["objectId"]
    nodes = session.send("Accessibility.getPartialAXTree", {"objectId": found, "fetchRelatives": False})["nodes"]
    session.detach()
    return str(nodes[0].get("name", {}).get("value", ""))


# The texts whose contrast with what is behind them is below WCAG's 4.5 to 1 (3 to 1 for large ones).
FAINT = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (each) => {
    for (let at = each; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const each of document.querySelectorAll("body *")) {
    const own = [...each.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !each.checkVisibility() || each.closest("svg")) continue;
    const style = getComputedStyle(each);
    const [a, b] = [light(numbers(style.color)), light(ground(each))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && style.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) faint.push([each.textContent.trim().slice(0, 40), contrast]);
  }
  return faint;
}"""
