// Elements of a page, made of what the server answers. Text stays text: nothing is parsed as HTML.

/** Make an element. Functions among attributes become listeners; null and false leave one out. */
export const h = (name, ...parts) => filled(document.createElement(name), ...parts);

/** Make an element of an SVG. */
export const s = (name, ...parts) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), ...parts);

function filled(element, attributes = {}, ...children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element with an id; every page has those that its script asks for. */
export const byId = (id) => document.getElementById(id);

/** Write a sentence where it is not there yet: what stays the same is not read out again. */
export function say(place, sentence) {
  if (place.textContent !== sentence) place.textContent = sentence;
}

/** Do what a button asks for, with the button disabled meanwhile, and tell what went wrong. */
export async function run(button, problems, work) {
  const hadFocus = button === document.activeElement; // which it loses while it is disabled
  button.disabled = true;
  problems.textContent = "";
  try {
    return await work();
  } catch (error) {
    problems.textContent = error.message;
    return undefined;
  } finally {
    button.disabled = false;
    if (hadFocus && document.activeElement === document.body) button.focus();
  }
}
