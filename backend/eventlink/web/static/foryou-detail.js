// An event opened: all that is told of it, in a dialog. Counts as a view, and how long it is read.

import { h } from "./dom.js";
import { actions } from "./foryou-actions.js";
import { track, tracker } from "./foryou-acts.js";
import { seats, tags, titleOf, when, where } from "./foryou-event.js";
import { ask } from "./session.js";

const dialog = h("dialog", { class: "detail", "aria-labelledby": "detail-title" });
document.body.append(dialog);
let leave = null;

// The ranking waits while somebody reads: nothing moves behind a dialog.
export const isReading = () => dialog.open;

dialog.addEventListener("close", () => {
  leave?.();
  leave = null;
  dialog.replaceChildren();
  document.dispatchEvent(new Event("read"));
});
dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());

/** Open an event. `list` and `place` tell where it was shown, `reason` why; all may be missing. */
export function openDetail(event, { list = {}, place, reason = null } = {}) {
  const cameBy = list.request_id ? { request_id: list.request_id, position: place } : {};
  leave?.(); // one may be open already
  leave = tracker.page(event.id, cameBy);
  track(null, "your click");
  const text = h("div", { class: "description" }, "…");
  const people = h("p", { class: "faint" });
  dialog.replaceChildren(
    h(
      "article",
      {},
      h(
        "div",
        { class: "heading" },
        h("h2", { id: "detail-title", tabindex: -1 }, titleOf(event)),
        h("button", { class: "plain", click: () => dialog.close(), "aria-label": "Close" }, "✕"),
      ),
      h("p", {}, when(event), seats(event)),
      h("p", {}, where(event)),
      reason && h("p", { class: "reason" }, reason.text),
      text,
      tags(event),
      people,
      actions(event),
      h("p", { class: "news", role: "status" }),
      h("div", { class: "toasts" }),
    ),
  );
  dialog.showModal();
  dialog.querySelector("h2").focus();
  ask("GET", `api/events/${event.id}`).then(
    (detail) => {
      const parts = (detail.description ?? "Nothing more is told of it.").split(/\n+/);
      text.replaceChildren(...parts.map((one) => h("p", {}, one)));
      const seated =
        detail.max_seats === null
          ? `${detail.seats_taken} going`
          : `${detail.seats_taken} of ${detail.max_seats} seats taken`;
      people.textContent = `${seated} · remembered by ${detail.favorites}`;
    },
    (error) => (text.textContent = error.message),
  );
}

/** Tell the reader what has become of the ranking meanwhile. */
export function tellReader(news) {
  const line = dialog.querySelector(".news");
  if (line) line.textContent = news;
}
