// A line at the foot of the page that tells what was done or went wrong, and may offer to undo it.

import { h } from "./dom.js";

const SHOWN_MS = 8000;
const place = h("div", { class: "toasts", role: "status" });
document.body.append(place);

/** Show a line; `undo` is what its button does. */
export function toast(text, undo = null) {
  const line = h("div", { class: "toast" }, h("span", {}, text));
  const close = () => line.remove();
  if (undo) {
    const work = () => {
      close();
      undo().catch((error) => toast(error.message));
    };
    line.append(h("button", { class: "plain", click: work }, "Undo"));
  }
  line.append(h("button", { class: "plain", click: close, "aria-label": "Close" }, "✕"));
  // A dialog hides all that is not in it.
  (document.querySelector("dialog[open] .toasts") ?? place).replaceChildren(line);
  const expire = () => {
    if (line.matches(":hover, :focus-within")) setTimeout(expire, SHOWN_MS);
    else close();
  };
  setTimeout(expire, SHOWN_MS);
}
