// What is told of an event wherever it is shown: its title, when and where it is, seats, tags.

import { h } from "./dom.js";
import { mine } from "./foryou-mine.js";
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

const DATE = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
});

export const titleOf = (event) => event.title ?? "An event without a title";

/** The day it begins on: several events may have one title. */
export const dayOf = (event) => DATE.format(new Date(event.start_time));

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
export function seatsLeft({ seats_left: left, max_seats: most, seats_taken: taken }) {
  if (left !== undefined) return left;
  return most === null ? null : Math.max(0, most - taken);
}

/** That few are left, to stand behind when it is; nothing where there are more. */
export function seats(event) {
  const left = seatsLeft(event);
  if (left === null || left > FEW) return [];
  const text = left === 0 ? "No seat left" : counted(left, "seat left", "seats left");
  return [h("span", { class: "faint" }, "\u00a0· "), h("span", { class: "seats" }, text)];
}

/** Its tags; those that the visitor likes stand out. */
export function tags(event) {
  const look = (tag) => (mine.interests.has(tag.id) ? "chip liked" : "chip");
  const list = h("ul", { class: "chips drawn", "aria-label": "Tags" });
  const chip = (tag) => h("li", { class: look(tag) }, tag.name);
  list.draw = () => list.replaceChildren(...event.tags.map(chip));
  list.draw();
  return list;
}
