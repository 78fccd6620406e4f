// "All events": everything to come, searched, filtered and sorted. What is searched for is told.

import { h, run } from "./dom.js";
import { track } from "./foryou-acts.js";
import { card } from "./foryou-card.js";
import { openDetail } from "./foryou-detail.js";
import { moreButton } from "./foryou-more.js";
import { counted } from "./format.js";
import { ask } from "./session.js";

const PAGE = 20;
const problems = h("div", { role: "alert" });
const count = h("p", { class: "maker", role: "status" });
const cards = h("ul", { class: "events" });
const more = moreButton(cards, PAGE, fetchPage);
const query = h("input", {
  type: "search",
  placeholder: "Search events",
  "aria-label": "Search events",
  maxlength: 100,
});
const tag = h("select", { "aria-label": "Tag" }, h("option", { value: "" }, "All tags"));
const sort = h(
  "select",
  { "aria-label": "Order" },
  [
    ["recommended", "Recommended"],
    ["time", "Soonest"],
    ["popular", "Popular"],
  ].map(([value, label]) => h("option", { value }, label)),
);
const go = h("button", { class: "main", type: "submit" }, "Search");

/** Its part of the page. */
export const allView = h(
  "section",
  { id: "all", "aria-labelledby": "all-title" },
  h(
    "div",
    { class: "strip" },
    h("h2", { id: "all-title" }, "All events"),
    count,
    h("p", { class: "news", role: "status" }),
  ),
  h("form", { class: "search", role: "search", submit: search }, query, go, tag, sort),
  problems,
  cards,
  more.element,
);
tag.addEventListener("change", () => {
  showFirst();
  if (tag.value) track({ type: "filter", meta: meta() }, "you filtered");
});
sort.addEventListener("change", showFirst);

export async function startAll() {
  const tags = await ask("GET", "api/tags?limit=100");
  tag.append(...tags.map((one) => h("option", { value: one.name }, one.name)));
}

/** Show the first page of what is asked for by now. */
export function showFirst() {
  cards.replaceChildren();
  return fetchPage(go);
}

function search(event) {
  event.preventDefault();
  showFirst();
  if (query.value.trim()) track({ type: "search", meta: meta() }, "your search");
}

function meta() {
  const said = {};
  if (query.value.trim()) said.query = query.value.trim();
  if (tag.value) said.tags = [tag.value];
  return said;
}

let questions = 0;

function fetchPage(button) {
  const number = ++questions;
  return run(button, problems, async () => {
    const offset = cards.children.length;
    const asked = new URLSearchParams({ sort: sort.value, limit: PAGE, offset });
    if (query.value.trim()) asked.set("q", query.value.trim());
    if (tag.value) asked.set("tag", tag.value);
    const { total, items } = await ask("GET", `api/events?${asked}`);
    if (number !== questions) return; // something else is asked for by now
    cards.append(...items.map((event) => card(event, { open: () => openDetail(event) })));
    const many = counted(total, "event to come", "events to come");
    count.textContent = total ? many : "No event to come is like this.";
    more.offer(total);
  });
}
