// What the visitor does: told to the server by the tracker, and to whoever shows the ranking.
//
// Whatever has the ranking made anew is announced as `acted`: what it was, and when.

import { token } from "./session.js";
import { Tracker } from "./tracker.js";

export const tracker = new Tracker({ endpoint: "api/analytics/interactions", token });

/** An instant, by the clock that measures and by the one that dates. */
export const now = () => ({ ticks: performance.now(), date: Date.now() });

/** Tell whoever shows the ranking that it will be made anew, and on account of what. */
export function acted(said, moment) {
  document.dispatchEvent(new CustomEvent("acted", { detail: { said, ...moment } }));
}

/** Record an act with the tracker, send it at once, and tell that it has the ranking made anew. */
export async function track(act, said) {
  const moment = now();
  if (act) tracker.record(act);
  // The tracker hears of a click after whoever opens what was clicked.
  await new Promise((next) => setTimeout(next));
  await tracker.flush();
  acted(said, moment);
}
