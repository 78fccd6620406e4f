// What moved when a list took another's place: marked on the cards, told, and shown by gliding.

import { h } from "./dom.js";

const MOVE_MS = 600;

/** How far an event has moved, as a mark; `before` has the old places, by event. */
export function moveOf(event, place, before) {
  if (!before) return null;
  const old = before.get(event.id);
  if (old === undefined) return h("span", { class: "move new" }, "new");
  if (old === place) return null;
  const by = Math.abs(old - place);
  const [sign, word] = old > place ? ["▲", "up"] : ["▼", "down"];
  const told = { role: "img", "aria-label": `${by} ${word}` };
  return h("span", { class: `move ${word}`, ...told }, `${sign}${by}`);
}

/** The moves in a sentence; `gone` is how many events have left the list. */
export function summary(cards, gone) {
  const count = (word) => cards.querySelectorAll(`.move.${word}`).length;
  const parts = [
    [count("up"), "up"],
    [count("down"), "down"],
    [count("new"), "new"],
    [gone, "gone"],
  ].filter(([number]) => number > 0);
  if (parts.length === 0) return "; every event keeps its place.";
  return `: ${parts.map(([number, word]) => `${number} ${word}`).join(", ")}.`;
}

const topOf = (row) => row.getBoundingClientRect().top;

/** Where each card is in the window by now, for `glide`. */
export const topsOf = (cards) =>
  new Map([...cards.children].map((row) => [row.dataset.id, topOf(row)]));

/** Let every card glide from where it was; what is new comes out of the ground. */
export function glide(cards, tops) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  // Nothing is clicked by mistake while it moves.
  cards.classList.add("moving");
  setTimeout(() => cards.classList.remove("moving"), MOVE_MS);
  for (const row of cards.children) {
    const isOld = tops.has(row.dataset.id);
    const shift = isOld && tops.get(row.dataset.id) - topOf(row);
    const start = isOld ? { transform: `translateY(${shift}px)` } : { opacity: 0 };
    if (shift !== 0) row.animate([start, {}], { duration: MOVE_MS, easing: "ease-in-out" });
  }
}
