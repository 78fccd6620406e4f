// What can be done with an event: register, remember, follow, have more or less of its kind.

import { h } from "./dom.js";
import { dayOf, seatsLeft, titleOf } from "./foryou-event.js";
import { change, mine } from "./foryou-mine.js";
import { toast } from "./foryou-toast.js";

/** The buttons. They are drawn anew whenever what the visitor said changes. */
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

const goingTo = (event) => `You are going to ${titleOf(event)}, ${dayOf(event)}.`;

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
      work: () => toggle("registered", event, !isIn, goingTo(event)),
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

function toggleButton(act, kind, thing, [off, on], attributes = {}) {
  const isOn = mine[kind].has(thing.id);
  return button(act, isOn ? on : off, {
    "aria-pressed": String(isOn),
    ...attributes,
    work: () => toggle(kind, thing, !isOn),
  });
}

function tuning(event, organizer) {
  const row = (tag) =>
    h(
      "div",
      { class: "row" },
      h("span", {}, tag.name),
      toggleButton(`like-${tag.id}`, "interests", tag, ["More", "More ✓"], {
        "aria-label": `More ${tag.name}`,
      }),
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
      { class: "card panel" },
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
