// Tells Event Link what people do with the events that a page shows them.
//
//   import { Tracker } from "https://events.example.org/tracker.js";
//   const tracker = new Tracker({ token: () => accessToken });
//   tracker.observe(document.body);
//
// Whatever carries data-event-id, and the data-request-id and data-position of its list, is
// watched: its impression counts once at least half of it was seen for a second, its click when it
// is opened.

const SEEN_SHARE = 0.5; // half of it for a second: the MRC's viewable impression
const SEEN_MS = 1000;
const BATCH = 100; // the most that the server takes at once
const WAIT_MS = 2000; // so that what is seen together is sent together
const LONGEST_WAIT_MS = 60_000;
const KEPT = 1000; // acts that wait for a server that is away
const LATE_MS = 5000; // from here on the server's own clock is too late to date an act by
const KEPT_ALIVE = 60_000; // bytes
const SHORTEST_DWELL = 1; // seconds
const LONGEST_DWELL = 4 * 3600;
const CAME_BY = "eventlink.came-by";
const BY_REQUEST_ID = new Set(["impression", "click", "view", "dwell"]); // need no token
const CONTROLS = "button, input, select, textarea, label, summary";

export class Tracker {
  #endpoint;
  #token;
  #refused;
  #waiting = [];
  #timer = null;
  #flushing = null;
  #failures = 0;
  #watched = new WeakSet();
  #counted = new Set();
  #timers = new Map();
  #visits = new Set();
  #sight;
  #changes;

  /**
   * @param endpoint Where to send to; the API of the server that this script comes from.
   * @param token Returns the reader's access token; null where nobody is signed in.
   * @param refused Told of each act that the server does not take: { act, code, text }.
   */
  constructor({
    endpoint = new URL("api/analytics/interactions", import.meta.url).href,
    token = () => null,
    refused = ({ act, text }) => console.warn(`event link: ${act.type} refused: ${text}`),
  } = {}) {
    this.#endpoint = endpoint;
    this.#token = token;
    this.#refused = refused;
    const steps = Array.from({ length: 21 }, (_, step) => step / 20);
    this.#sight = new IntersectionObserver((entries) => entries.forEach((one) => this.#seen(one)), {
      threshold: steps,
    });
    this.#changes = new MutationObserver((changes) => changes.forEach((one) => this.#changed(one)));
    // The last moment at which a page is sure to be told anything, also on telephones.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") this.#leave();
    });
    addEventListener("pagehide", () => this.#leave());
  }

  /** Watch all events below an element, and those that are put there later or changed. */
  observe(root) {
    this.#watchWithin(root);
    const attributeFilter = ["data-event-id", "data-request-id"];
    this.#changes.observe(root, { childList: true, subtree: true, attributeFilter });
  }

  /** Watch one element that carries data-event-id. */
  watch(element) {
    this.#forget(element);
    this.#sight.observe(element); // anew, for it may show another list's event by now
    if (this.#watched.has(element)) return;
    this.#watched.add(element);
    const opened = (event) => this.#clicked(element, event);
    element.addEventListener("click", opened);
    element.addEventListener("auxclick", (event) => event.button === 1 && opened(event));
  }

  /**
   * Record that an event's own page is read: a view now, and how long it is visible from now on.
   * Which list the reader came by is known if they clicked it in this tab.
   *
   * @returns A function to call when something else is shown in its place.
   */
  page(eventId, list = cameBy(eventId)) {
    this.record({ type: "view", event_id: eventId, ...list });
    let since = document.visibilityState === "visible" ? performance.now() : null;
    const pause = () => {
      if (since === null) return;
      const seconds = Math.min((performance.now() - since) / 1000, LONGEST_DWELL);
      since = null;
      if (seconds < SHORTEST_DWELL) return;
      const dwell_seconds = Math.round(seconds * 10) / 10;
      this.record({ type: "dwell", event_id: eventId, dwell_seconds, ...list });
    };
    const goOn = () => {
      if (document.visibilityState === "visible") since ??= performance.now();
    };
    this.#visits.add(pause);
    document.addEventListener("visibilitychange", goOn);
    return () => {
      pause();
      this.#visits.delete(pause);
      document.removeEventListener("visibilitychange", goOn);
    };
  }

  /** Record any act; its fields are those of POST /api/analytics/interactions. */
  record(act) {
    this.#waiting.push({ act: { client_id: randomName(), ...act }, at: Date.now() });
    if (this.#waiting.length > KEPT) this.#waiting.shift();
    if (this.#failures > 0) return; // it is known when to try again
    if (this.#waiting.length >= BATCH || !BY_REQUEST_ID.has(act.type)) this.flush();
    else if (this.#timer === null) this.#wake(WAIT_MS);
  }

  /** Send what waits, now; resolves once the server has answered. */
  flush() {
    // Who asks meanwhile gets the same answer: it goes on until nothing waits or goes through.
    this.#flushing ??= this.#sendAll().finally(() => {
      this.#flushing = null;
      if (this.#waiting.length > 0 && this.#timer === null) this.#wake(WAIT_MS);
    });
    return this.#flushing;
  }

  async #sendAll() {
    this.#wake();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      const pause = await this.#send(batch);
      if (pause !== null) {
        this.#keep(batch);
        this.#wake(pause);
        return;
      }
    }
  }

  /** Send what waits in so many milliseconds, whatever was planned before; never without them. */
  #wake(ms = null) {
    clearTimeout(this.#timer);
    this.#timer = ms === null ? null : setTimeout(() => this.flush(), ms);
  }

  /** Send a batch; returns null, or after how many milliseconds it is to be sent again. */
  async #send(batch) {
    let answer;
    try {
      answer = await this.#post(batch, this.#readToken());
      // A token that has run out; what a list led to is believed by its request_id for a day.
      if (answer.status === 401) answer = await this.#post(batch, null);
    } catch {
      return this.#pause(); // the network
    }
    if (answer.status === 429 || answer.status >= 500) {
      return this.#pause(1000 * Number(answer.headers.get("Retry-After")));
    }
    this.#failures = 0;
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      const text = `${answer.status}: ${JSON.stringify(said.detail)}`;
      batch.forEach(({ act }) => this.#tell({ act, code: "batch_refused", text }));
    }
    for (const { index, code, text } of said.refused ?? []) {
      this.#tell({ act: batch[index].act, code, text });
    }
    return null;
  }

  #post(batch, token) {
    const headers = { "Content-Type": "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const body = new Blob([asBody(batch)], { type: "application/json" });
    // What is kept alive goes on while the page is being left; browsers do so for 64 KiB.
    const keepalive = body.size < KEPT_ALIVE;
    return fetch(this.#endpoint, { method: "POST", headers, body, keepalive });
  }

  /** The longer the server is away the longer, and not everybody at once when it is back. */
  #pause(asked = 0) {
    this.#failures += 1;
    const most = Math.min(WAIT_MS * 2 ** this.#failures, LONGEST_WAIT_MS);
    return Math.max(most * (0.5 + Math.random() / 2), asked || 0);
  }

  /** Put back, at the head, what did not get through. */
  #keep(entries) {
    this.#waiting.unshift(...entries);
    this.#waiting.splice(KEPT);
  }

  /** Send what waits as the page is hidden or left: there may be nobody to hear the answer. */
  #leave() {
    this.#visits.forEach((pause) => pause());
    this.#wake();
    const all = this.#waiting.splice(0);
    // Before it takes a token, another site's server is asked whether it would, and a page that is
    // left does not live to see the answer. A beacon has no token; the request_id stands in for it.
    const beacons = this.#foreign ? all.filter(({ act }) => needsNoToken(act)) : [];
    const late = chunks(beacons).filter(
      (batch) => !navigator.sendBeacon?.(this.#endpoint, asBody(batch)),
    );
    for (const batch of [...late, ...chunks(all.filter((entry) => !beacons.includes(entry)))]) {
      // A page that is only hidden lives on.
      this.#send(batch).then((pause) => {
        if (pause === null) return;
        this.#keep(batch);
        this.#wake(pause);
      });
    }
  }

  #tell(refusal) {
    try {
      this.#refused(refusal);
    } catch (error) {
      console.error(error); // the page's own; it holds nothing up
    }
  }

  #readToken() {
    try {
      return this.#token();
    } catch (error) {
      console.error(error);
      return null;
    }
  }

  get #foreign() {
    return new URL(this.#endpoint, location.href).origin !== location.origin;
  }

  #watchWithin(node) {
    if (!(node instanceof Element)) return;
    if (node.matches("[data-event-id]")) this.watch(node);
    node.querySelectorAll("[data-event-id]").forEach((one) => this.watch(one));
  }

  #changed({ type, target, addedNodes, removedNodes }) {
    if (type === "attributes") this.#watchWithin(target);
    addedNodes.forEach((node) => this.#watchWithin(node));
    removedNodes.forEach((node) => this.#forgetWithin(node));
  }

  #forgetWithin(node) {
    if (!(node instanceof Element) || node.isConnected) return;
    this.#forget(node);
    node.querySelectorAll("[data-event-id]").forEach((one) => this.#forget(one));
  }

  #forget(element) {
    this.#sight.unobserve(element);
    clearTimeout(this.#timers.get(element));
    this.#timers.delete(element);
  }

  #seen({ target, intersectionRect, boundingClientRect, rootBounds }) {
    // Of what is taller than the window, half a window is enough.
    const whole = Math.min(boundingClientRect.height, rootBounds?.height ?? innerHeight);
    const enough = intersectionRect.width > 0 && intersectionRect.height >= SEEN_SHARE * whole;
    if (enough === this.#timers.has(target)) return;
    if (enough) {
      this.#timers.set(target, setTimeout(() => this.#wasSeen(target), SEEN_MS));
    } else {
      clearTimeout(this.#timers.get(target));
      this.#timers.delete(target);
    }
  }

  #wasSeen(element) {
    if (document.visibilityState === "hidden") {
      this.#timers.set(element, setTimeout(() => this.#wasSeen(element), SEEN_MS));
    } else this.#impression(element);
  }

  #impression(element) {
    this.#forget(element);
    const list = listOf(element);
    const name = `${list.request_id} ${list.event_id}`;
    if (this.#counted.has(name)) return;
    this.#counted.add(name);
    this.record({ type: "impression", ...list });
  }

  #clicked(element, event) {
    const control = event.target.closest?.(CONTROLS);
    const other = control && control !== element && element.contains(control);
    if (other && !control.hasAttribute("data-opens")) return;
    this.#impression(element); // who clicks has seen it, however soon
    const list = listOf(element);
    remember(list);
    this.record({ type: "click", ...list });
  }
}

const needsNoToken = ({ type, request_id }) => request_id && BY_REQUEST_ID.has(type);

function chunks(entries) {
  const found = [];
  for (let first = 0; first < entries.length; first += BATCH) {
    found.push(entries.slice(first, first + BATCH));
  }
  return found;
}

function listOf({ dataset }) {
  const list = { event_id: Number(dataset.eventId) };
  if (dataset.requestId) list.request_id = dataset.requestId;
  if (dataset.position) list.position = Number(dataset.position);
  return list;
}

function remember(list) {
  try {
    sessionStorage.setItem(CAME_BY, JSON.stringify(list));
  } catch {
    // Storage may be forbidden; then a view does not know its list.
  }
}

function cameBy(eventId) {
  try {
    const { event_id, ...list } = JSON.parse(sessionStorage.getItem(CAME_BY)) ?? {};
    return event_id === eventId ? list : {};
  } catch {
    return {};
  }
}

function asBody(batch) {
  const now = Date.now();
  const interactions = batch.map(({ act, at }) => {
    const isLate = now - at > LATE_MS && !act.occurred_at;
    return isLate ? { ...act, occurred_at: new Date(at).toISOString() } : act;
  });
  return JSON.stringify({ interactions });
}

function randomName() {
  // randomUUID is there only where the page came by TLS or from this machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
