// What the sections of the administrators' page are built of: panels, tables, choices, questions.

import { byId, h, run, say } from "./dom.js";
import { AWAY } from "./session.js";

/** A section: heading, tools beside it, then problems, what was done, and the body. */
export function panel(id, title) {
  const tools = h("div", { class: "tools" });
  const problems = h("div", { role: "alert" });
  const told = h("div", { role: "status", class: "told" });
  const body = h("div", { class: "body" });
  const heading = h("h2", { id: `${id}-title`, tabindex: -1 }, title);
  const element = h(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    h("div", { class: "head" }, heading, tools),
    problems,
    told,
    body,
  );
  let last = "";
  /**
   * Tell what went wrong with asking, "" once it went well. Why a button was refused stays until
   * something `isNew` is shown, or the server that was away has answered.
   */
  const trouble = (problem, isNew = false) => {
    const isOver = isNew || [last, AWAY].includes(problems.textContent);
    if (problem || isOver) say(problems, problem);
    last = problem;
  };
  return { element, tools, problems, told, body, trouble };
}

/** A table, of cards where it is narrow; `#` before a heading makes a column of numbers. */
export function table(caption, headings, rows, extra = "") {
  // The roles are told, because cards are tables no longer to a browser.
  const columns = headings.map((one) => ({
    name: one.replace("#", ""),
    number: one.startsWith("#"),
  }));
  // What scrolls must be reached by keyboard.
  const scrolls = extra === "scrolls" ? { tabindex: 0, role: "region", "aria-label": caption } : {};
  const kind = ({ number }) => (number ? "number" : null);
  return h(
    "div",
    { class: `sheet card ${extra}`, ...scrolls },
    h(
      "table",
      { role: "table", "aria-label": caption },
      h(
        "thead",
        { role: "rowgroup" },
        h(
          "tr",
          { role: "row" },
          columns.map((one) =>
            h("th", { role: "columnheader", scope: "col", class: kind(one) }, one.name),
          ),
        ),
      ),
      h(
        "tbody",
        { role: "rowgroup" },
        rows.map((cells) =>
          h(
            "tr",
            { role: "row" },
            cells.map((cell, index) =>
              h(
                "td",
                { role: "cell", class: kind(columns[index]), "data-label": columns[index].name },
                cell,
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

/** A choice of a few, as radio buttons side by side. */
export function choice(legend, name, options, first, change = () => {}) {
  const inputs = options.map(({ value, label }) => {
    const input = h("input", { type: "radio", name, value, checked: value === first, change });
    return { input, label: h("label", {}, input, h("span", {}, label)) };
  });
  return {
    element: h(
      "fieldset",
      { class: "choice" },
      h("legend", {}, legend),
      inputs.map(({ label }) => label),
    ),
    value: () => inputs.find(({ input }) => input.checked).input.value,
  };
}

/** A big number, with what it is and what is to be said of it. */
export const tile = (name, value, ...notes) =>
  h(
    "div",
    { class: "card tile" },
    h("h3", {}, name),
    h("p", { class: "big" }, value),
    notes.map((note) => h("p", { class: "faint" }, note)),
  );

/** What stands where there is nothing to show yet; each paragraph is a text or several parts. */
export const empty = (title, ...paragraphs) =>
  h(
    "div",
    { class: "card empty" },
    h("h3", {}, title),
    paragraphs.map((one) => h("p", {}, one)),
  );

/** A word with a colour: `good`, `bad`, `warn`, `busy` or nothing. The word tells it all. */
export const badge = (word, tone = "") => h("span", { class: `badge ${tone}` }, word);

/** Ask whether to go on; resolves with what `work` did, or undefined where it was left. */
export function confirmed(title, sentences, label, work) {
  return new Promise((done) => {
    const problems = h("div", { role: "alert" });
    let outcome;
    const go = h("button", { class: "main", type: "button" }, label);
    const dialog = h(
      "dialog",
      { "aria-labelledby": "question", close: () => (dialog.remove(), done(outcome)) },
      h("h2", { id: "question" }, title),
      sentences.map((one) => h("p", {}, one)),
      problems,
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", click: () => dialog.close(), autofocus: true }, "Leave it"),
        go,
      ),
    );
    go.addEventListener("click", () =>
      run(go, problems, async () => {
        outcome = await work();
        dialog.close();
      }),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Put new elements in the place of old ones; focus and what is unfolded stay, by their ids.
 *
 * Where what had the focus is gone, the section's heading has it.
 */
export function redraw(place, ...elements) {
  const at = place.contains(document.activeElement) ? document.activeElement.id : "";
  const open = new Set([...place.querySelectorAll("details[id][open]")].map((one) => one.id));
  place.replaceChildren(...elements);
  for (const one of place.querySelectorAll("details[id]")) one.open = open.has(one.id);
  if (at) (byId(at) ?? place.closest("section").querySelector("h2")).focus();
}
