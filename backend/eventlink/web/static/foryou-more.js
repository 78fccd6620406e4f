// "Show 12 more": the button below a list that is not shown whole.

import { h } from "./dom.js";

/**
 * Make one for a list of cards.
 *
 * `work` shows up to `page` more, `offer` tells how many there are in all. Whoever pressed it goes
 * on reading at the first of the new ones.
 */
export function moreButton(cards, page, work) {
  const element = h("button", { class: "more", type: "button", hidden: true, click: more });

  async function more() {
    const first = cards.children.length;
    await work(element);
    cards.children[first]?.querySelector("button.title").focus();
  }

  function offer(total) {
    const left = total - cards.children.length;
    element.hidden = left <= 0;
    element.textContent = `Show ${Math.min(page, left)} more`;
  }
  return { element, offer };
}
