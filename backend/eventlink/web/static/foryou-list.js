// "For you": the ranking as cards, followed while it is made anew.
//
// After each act that has the ranking made anew the page asks until a newer one is stored, puts it
// in place of the old one, and tells how long that took and what has moved.

import { byId, h, say } from "./dom.js";
import { card } from "./foryou-card.js";
import { isReading, openDetail, tellReader } from "./foryou-detail.js";
import { mine } from "./foryou-mine.js";
import { moreButton } from "./foryou-more.js";
import { glide, moveOf, summary, topsOf } from "./foryou-moves.js";
import { shortSpan } from "./format.js";
import { ask } from "./session.js";

const LENGTH = 50; // of a list
const PAGE = 12; // of it shown at a time
const SOON_MS = 150; // between two questions for a newer ranking
const LATER_MS = 400; // the same, once it is slow to come
const SLOW_MS = 1500;
const PATIENCE_MS = 15_000;

const HOW = "Open an event, register, say what you like: moments later the list is ranked anew.";
const ANEW = "Ranking anew …";
const BY_HEURISTIC = "Put together by the heuristic"; // some sites know nothing else
const NONE_CAME = "No new ranking came: is a worker running? This is the list as it is now";

const maker = h("p", { class: "maker" });
const cards = h("ol", { class: "events" });
const more = moreButton(cards, PAGE, showMore);

let shown = null; // the list that is on the page
let pending = null; // one that came while somebody was reading
let length = PAGE; // how many of it are shown
let acts = []; // what the ranking does not know yet
let isFollowing = false;

/** The list's part of the page. */
export const listView = h(
  "section",
  { id: "for-you", "aria-labelledby": "for-you-title" },
  h(
    "div",
    { class: "strip" },
    h("h2", { id: "for-you-title", tabindex: -1 }, "For you"),
    maker,
    h("p", { class: "news", role: "status" }),
  ),
  cards,
  more.element,
);

export async function startList() {
  const list = await fetchList();
  if (acts.length === 0) {
    put(list);
    tell(HOW, "quiet");
  } else {
    // Who is new has said what they like; their first ranking may be there by now.
    if (isRanked(list)) arrive(list);
    else put(list);
    follow();
  }
  setInterval(tellMaker, 1000);
}

const fetchList = (limit = LENGTH) => ask("GET", `api/recommendations?limit=${limit}`);

document.addEventListener("acted", ({ detail }) => {
  acts.push(detail);
  tell(ANEW, "waiting");
  if (shown && !isFollowing) follow();
});
document.addEventListener("read", settle);
cards.addEventListener("toggle", settle, { capture: true });

/** Nothing moves while somebody reads an event, or has a card's menu open. */
const isBusy = () => isReading() || cards.querySelector("details[open]") !== null;

function settle() {
  if (pending && !isBusy()) put(...pending);
}

/** Ask until a ranking is stored that is newer than all that was done. */
async function follow() {
  isFollowing = true;
  let latest = pending?.[0] ?? shown;
  while (acts.length > 0) {
    const waited = performance.now() - acts.at(-1).ticks;
    await new Promise((next) => setTimeout(next, waited < SLOW_MS ? SOON_MS : LATER_MS));
    try {
      if (isNewer(await fetchList(1), latest)) {
        latest = await fetchList();
        arrive(latest);
      } else if (waited > PATIENCE_MS) {
        acts = [];
        const list = await fetchList();
        receive(list, [latest, list].some(isRanked) ? NONE_CAME : BY_HEURISTIC);
      } else if (waited > SLOW_MS) {
        tell(`${ANEW} A person is ranked at most once in a few seconds.`, "waiting");
      }
    } catch (error) {
      acts = [];
      tell(error.message);
    }
  }
  isFollowing = false;
}

const isRanked = (list) => list.source === "cache";

/** Tell whether a list knows more than an old one; the heuristic knows all at once. */
function isNewer(list, old) {
  // It answers some for good, and who is new only until their first ranking is there.
  if (!isRanked(list)) return list.arm === "control" || mine.profile.role !== "student";
  return !isRanked(old) || Date.parse(list.generated_at) > Date.parse(old.generated_at);
}

/** Show a newer ranking, and tell what it was made upon and how long that took. */
function arrive(list) {
  const made = Date.parse(list.generated_at);
  const known = acts.filter((act) => act.date <= made);
  acts = acts.filter((act) => act.date > made);
  const last = known.at(-1);
  const after = last
    ? ` ${((performance.now() - last.ticks) / 1000).toFixed(1)} s after ${last.said}`
    : "";
  const ranked = shown ? "Ranked anew" : "Ranked";
  receive(list, `${isRanked(list) ? ranked : BY_HEURISTIC}${after}`);
}

/** Show a list as soon as it may be moved. */
function receive(list, told) {
  if (isBusy()) {
    pending = [list, told];
    tellReader(`${told}. The list moves when you close this.`);
    tell(`${told}. The list moves when you close the menu.`);
  } else put(list, told);
}

/** Put a list in place of the one that is shown, and tell what moved. */
function put(list, told = null) {
  pending = null;
  const before = shown && new Map(shown.items.map((item, place) => [item.event.id, place]));
  const tops = topsOf(cards);
  const focused = cards.contains(document.activeElement) ? whereFocusIs() : null;
  shown = list;
  draw(before);
  tellMaker();
  if (focused) restore(focused);
  if (tops.size > 0) glide(cards, tops);
  if (told) tell(`${told}${before ? summary(cards, gone(before)) : "."}`);
  if (acts.length > 0) tell(ANEW, "waiting");
}

function draw(before) {
  const visible = shown.items.slice(0, length);
  cards.replaceChildren(...visible.map((item, place) => row(item, place, before)));
  if (visible.length === 0) {
    cards.append(h("li", { class: "faint" }, "Nothing is left to recommend."));
  }
  more.offer(shown.items.length);
}

function row(item, place, before) {
  const { event, reason } = item;
  const list = shown;
  const rank = h("span", { class: "rank" }, item.rank);
  return card(event, {
    list,
    place,
    reason,
    source: item.source === list.source ? null : item.source,
    beside: h("div", { class: "place" }, rank, moveOf(event, place, before)),
    open: () => openDetail(event, { list, place, reason }),
  });
}

/** How many events could be seen before and have left the list. */
function gone(before) {
  const ids = new Set(shown.items.map((item) => item.event.id));
  return [...before].filter(([id, place]) => place < length && !ids.has(id)).length;
}

function whereFocusIs() {
  const focused = document.activeElement;
  return { id: focused.closest("li")?.dataset.id, act: focused.dataset.act };
}

function restore({ id, act }) {
  const same = cards.querySelector(`[data-id="${id}"] [data-act="${act}"]`);
  (same ?? byId("for-you-title")).focus({ preventScroll: true });
}

function showMore() {
  const first = length;
  length += PAGE;
  const items = shown.items.slice(first, length);
  cards.append(...items.map((item, index) => row(item, first + index, null)));
  more.offer(shown.items.length);
}

/** Tell how the ranking fares, on whichever view is open. */
function tell(text, mood = "") {
  for (const line of document.querySelectorAll("main .news")) {
    say(line, text);
    line.className = `news ${mood}`;
  }
}

/** Tell quietly who made the list, and how old it is. */
function tellMaker() {
  if (!isRanked(shown)) {
    maker.textContent = "put together by the heuristic, just now";
    return;
  }
  const seconds = Math.max(0, (Date.now() - Date.parse(shown.generated_at)) / 1000);
  maker.textContent = `ranked by ${shown.model_version} ${shortSpan(seconds)} ago`;
}
