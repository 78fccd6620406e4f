// "You": what the visitor said so far, and how to take it back.

import { byId, h, run } from "./dom.js";
import { openDetail } from "./foryou-detail.js";
import { titleOf, when } from "./foryou-event.js";
import { change, changeProfile, mine } from "./foryou-mine.js";
import { ask } from "./session.js";

const content = h("div", { class: "content" });
const problems = h("div", { role: "alert" });
let allTags = [];
let cities = [];

/** Its part of the page. */
export const youView = h(
  "aside",
  { id: "you", class: "card", "aria-labelledby": "you-title" },
  h("h2", { id: "you-title", tabindex: -1 }, "You"),
  h("p", { class: "news", role: "status" }),
  problems,
  content,
);

export async function startYou() {
  [allTags, cities] = await Promise.all([ask("GET", "api/tags?limit=100"), knownCities()]);
  draw();
}

/** The cities in which something is to come. */
export async function knownCities() {
  const { items } = await ask("GET", "api/events?limit=100");
  return [...new Set(items.map((event) => event.city).filter(Boolean))].sort();
}

document.addEventListener("mine", draw);

function draw() {
  content.replaceChildren(
    part("Interests", chips("interests"), adding()),
    part("Going to", rows("registered")),
    part("Remembered", rows("remembered")),
    part("Following", chips("followed")),
    part("Hidden tags", chips("hidden")),
    part("Organizers shut out", chips("blocked")),
    part("City", setting("city", citySelect(cities, mine.profile.city))),
    part("Reasons are told in", setting("language", languageSelect(mine.profile.language))),
  );
}

const part = (title, ...children) => h("section", {}, h("h3", {}, title), ...children);
const none = () => h("p", { class: "faint" }, "none yet");

function chips(kind) {
  if (mine[kind].size === 0) return none();
  const look = kind === "interests" ? "chip liked" : "chip";
  const chip = (thing) => {
    const name = thing.name ?? `no. ${thing.id}`;
    return h("li", { class: look }, name, off(kind, thing, `Remove ${name}`, "✕"));
  };
  return h("ul", { class: "chips" }, [...mine[kind].values()].map(chip));
}

function off(kind, thing, told, label) {
  const button = h("button", { class: "plain off", "aria-label": told }, label);
  button.addEventListener("click", async () => {
    await run(button, problems, () => change(kind, thing, false));
    if (!button.isConnected) byId("you-title").focus(); // it went with what it took away
  });
  return button;
}

function rows(kind) {
  const isToCome = (event) => new Date(event.start_time) > new Date();
  const coming = [...mine[kind].values()].filter(isToCome);
  if (coming.length === 0) return none();
  coming.sort((one, other) => new Date(one.start_time) - new Date(other.start_time));
  const label = kind === "registered" ? "Unregister" : "Forget";
  return h(
    "ul",
    { class: "rows" },
    coming.map((event) =>
      h(
        "li",
        {},
        h("button", { class: "plain name", click: () => show(event) }, titleOf(event)),
        event.status === "cancelled" ? [" · ", h("span", { class: "seats" }, "called off")] : null,
        h(
          "div",
          { class: "line" },
          when(event),
          off(kind, event, `${label} ${titleOf(event)}`, label),
        ),
      ),
    ),
  );
}

/** What is stored of a registration is no whole event. */
async function show(event) {
  problems.textContent = "";
  try {
    openDetail(await ask("GET", `api/events/${event.id}`));
  } catch (error) {
    problems.textContent = error.message;
  }
}

function adding() {
  const free = allTags.filter((tag) => !mine.interests.has(tag.id));
  const box = h(
    "select",
    { "aria-label": "Add an interest", "data-act": "add" },
    h("option", { value: "" }, "Add an interest …"),
    free.map((tag) => h("option", { value: tag.id }, tag.name)),
  );
  box.addEventListener("change", async () => {
    const tag = free.find((one) => String(one.id) === box.value);
    if (!tag) return;
    await run(box, problems, () => change("interests", { id: tag.id, name: tag.name }, true));
    content.querySelector('[data-act="add"]').focus(); // the next one is added where this one was
  });
  return box;
}

/** Change the profile's field as soon as something else is chosen. */
function setting(field, box) {
  box.addEventListener("change", () =>
    run(box, problems, () => changeProfile({ [field]: box.value || null })),
  );
  return box;
}

function languageSelect(chosen) {
  const names = [
    ["", "the browser's language"],
    ["en", "English"],
    ["ro", "Romanian"],
  ];
  const option = ([value, name]) =>
    h("option", { value, selected: value === (chosen ?? "") }, name);
  return h("select", { "aria-label": "Language" }, names.map(option));
}

/** A choice among cities, none of them too. */
export function citySelect(names, chosen) {
  const all = [...new Set([...names, chosen].filter(Boolean))];
  return h(
    "select",
    { name: "city", "aria-label": "City" },
    h("option", { value: "" }, "anywhere"),
    all.map((name) => h("option", { value: name, selected: name === chosen }, name)),
  );
}
