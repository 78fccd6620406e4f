// An event in a list: the card, which is watched for impressions and clicks.

import { h } from "./dom.js";
import { actions } from "./foryou-actions.js";
import { tracker } from "./foryou-acts.js";
import { seats, tags, titleOf, when, where } from "./foryou-event.js";

/**
 * Make a card.
 *
 * `list` tells of which list it is a part (its request_id) and `place` where in it, from 0. `open`
 * is called when it is opened. What is watched is what tells of the event: a button beside it is no
 * click.
 */
export function card(event, { list = {}, place, beside, reason, source, open }) {
  const shown = h(
    "div",
    {
      class: "shown",
      "data-event-id": event.id,
      "data-request-id": list.request_id,
      "data-position": list.request_id && String(place),
    },
    h(
      "div",
      { class: "heading" },
      h(
        "h3",
        {},
        h("button", { class: "title", "data-act": "open", "data-opens": true }, titleOf(event)),
      ),
      event.category && h("span", { class: "category" }, event.category),
    ),
    h("p", {}, when(event), seats(event)),
    h("p", {}, where(event)),
    reason &&
      h(
        "p",
        { class: "reason" },
        reason.text,
        source && h("span", { class: "faint" }, ` · ${source}`),
      ),
    tags(event),
  );
  tracker.watch(shown);
  shown.addEventListener("click", () => open(event));
  return h("li", { class: "card event", "data-id": event.id }, beside, shown, actions(event));
}
