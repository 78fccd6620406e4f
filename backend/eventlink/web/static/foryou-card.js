// An event as people see it: the card, what can be done with it, when and where it is.

import { h } from "./dom.js";
import { change, mine, tracker } from "./foryou-mine.js";
import { toast } from "./foryou-toast.js";
import { counted } from "./format.js";

const FEW = 5;
const DAY = 86_400_000;
const RANGE = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export const titleOf = (event) => event.title ?? "An event without a title";

/** When it is, in the viewer's language and time: "Sat 6 Dec, 18:00 – 20:00 · in 3 days". */
export function when(event) {
  const start = new Date(event.start_time);
  const text = event.end_time
    ? RANGE.formatRange(start, new Date(event.end_time))
    : RANGE.format(start);
  const days = Math.round((midnight(start) - midnight(new Date())) / DAY);
  return h(
    "span",
    { class: "when" },
    h("time", { datetime: event.start_time }, text),
    h("span", { class: "faint" }, ` · ${RELATIVE.format(days, "day")}`),
  );
}

const midnight = (date) => new Date(date).setHours(0, 0, 0, 0);

/** Where it is and who holds it. */
export function where(event) {
  const place = [event.venue, event.city].filter(Boolean).join(", ");
  const text = [place, event.organizer && `with ${event.organizer}`].filter(Boolean).join(" · ");
  return h("span", { class: "where" }, text);
}

/** How many seats are left; null where there is no limit. */
export const seatsLeft = (event) =>
  event.seats_left !== undefined
    ? event.seats_left
    : event.max_seats === null
      ? null
      : Math.max(0, event.max_seats - event.seats_taken);

export function seats(event) {
  const left = seatsLeft(event);
  if (left === null || left > FEW) return null;
  const text = left === 0 ? "No seat left" : counted(left, "seat left", "seats left");
  return h("span", { class: "seats" }, text);
}

/** Its tags; those I like stand out. */
export function tags(event) {
  const look = (tag) => (mine.interests.has(tag.id) ? "chip liked" : "chip");
  const list = h("ul", { class: "chips drawn", "aria-label": "Tags" });
  list.draw = () => list.replaceChildren(...event.tags.map((tag) => h("li", { class: look(tag) }, tag.name)));
  list.draw();
  return list;
}

/**
 * Make a card.
 *
 * `list` tells of which list it is a part (its request_id) and `place` where in it, from 0; `open` is
 * called when it is opened. What is watched is what tells of the event: a button beside it is no click.
 */
export function card(event, { list = {}, place, beside = null, reason = null, source = null, open }) {
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
      h("p", { class: "reason" }, reason.text, source && h("span", { class: "source" }, source)),
    tags(event),
  );
  tracker.watch(shown);
  shown.addEventListener("click", () => open(event));
  return h("li", { class: "event", "data-id": event.id }, beside, shown, actions(event));
}

/** What can be done with an event. Drawn anew whenever what I said changes. */
export function actions(event) {
  const row = h("div", { class: "actions drawn" });
  row.draw = () => {
    const focused = row.contains(document.activeElement) && document.activeElement.dataset.act;
    const isOpen = row.querySelector("details")?.open;
    row.replaceChildren(...buttons(event));
    if (isOpen) row.querySelector("details").open = true;
    if (focused) row.querySelector(`[data-act="${focused}"]`)?.focus();
  };
  row.draw();
  return row;
}

document.addEventListener("mine", () => {
  for (const part of document.querySelectorAll(".drawn")) part.draw();
});

function buttons(event) {
  const organizer = event.organizer_id && {
    id: event.organizer_id,
    name: event.organizer ?? "the organizer",
  };
  const isIn = mine.registered.has(event.id);
  const over = new Date(event.start_time) < new Date();
  const isFull = seatsLeft(event) === 0 && !isIn;
  return [
    isIn && h("span", { class: "going" }, "✓ You are going"),
    button("register", isIn ? "Unregister" : "Register", {
      class: isIn ? null : "main",
      disabled: over || isFull,
      work: () => toggle("registered", event, !isIn, `You are going to ${titleOf(event)}.`),
    }),
    toggleButton("remember", "remembered", event, ["☆ Remember", "★ Remembered"]),
    organizer &&
      toggleButton("follow", "followed", organizer, [
        `Follow ${organizer.name}`,
        `Following ${organizer.name}`,
      ]),
    tuning(event, organizer),
  ].filter(Boolean);
}

function toggleButton(act, kind, thing, [off, on]) {
  const isOn = mine[kind].has(thing.id);
  return button(act, isOn ? on : off, {
    "aria-pressed": String(isOn),
    work: () => toggle(kind, thing, !isOn),
  });
}

function tuning(event, organizer) {
  const row = (tag) =>
    h(
      "div",
      { class: "row" },
      h("span", {}, tag.name),
      toggleButton(`like-${tag.id}`, "interests", tag, ["More", "More ✓"]),
      button(`hide-${tag.id}`, "Hide", {
        "aria-label": `Hide ${tag.name}`,
        work: () => hide("hidden", tag, `No more events with “${tag.name}”.`),
      }),
    );
  return h(
    "details",
    { class: "menu" },
    h("summary", { "data-act": "tune" }, "More or less of this"),
    h(
      "div",
      { class: "panel" },
      event.tags.map(row),
      organizer &&
        button("block", `Not ${organizer.name}`, {
          work: () => hide("blocked", organizer, `No more events with ${organizer.name}.`),
        }),
    ),
  );
}

/** Change something and, where it may take what was touched out of sight, offer to undo it. */
async function toggle(kind, thing, isOn, told) {
  await change(kind, thing, isOn);
  if (told && isOn) toast(told, () => change(kind, thing, false));
}

async function hide(kind, thing, told) {
  await toggle(kind, thing, true, told);
  closeMenus(() => true);
}

function button(act, label, { work, ...attributes }) {
  const made = h("button", { "data-act": act, type: "button", ...attributes }, label);
  let isBusy = false;
  made.addEventListener("click", async () => {
    // Not disabled meanwhile: then it would lose the focus.
    if (isBusy) return;
    isBusy = true;
    try {
      await work();
    } catch (error) {
      toast(error.message);
    } finally {
      isBusy = false;
    }
  });
  return made;
}

// A menu closes like one: by Escape, and by a click elsewhere.
document.addEventListener("click", ({ target }) => closeMenus((menu) => !menu.contains(target)));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement?.closest("details.menu[open]");
  if (menu) menu.querySelector("summary").focus();
  if (closeMenus(() => true)) event.preventDefault();
});

function closeMenus(which) {
  const open = [...document.querySelectorAll("details.menu[open]")].filter(which);
  for (const menu of open) menu.open = false;
  return open.length > 0;
}
