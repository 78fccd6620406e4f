// Who is new says what they like: all that the first ranking is made of.

import { h, run } from "./dom.js";
import { acted, now } from "./foryou-acts.js";
import { changeProfile, loadMine } from "./foryou-mine.js";
import { citySelect, knownCities } from "./foryou-you.js";
import { ask } from "./session.js";

const CHOICE = 24;

/** Ask in place of what `place` holds; resolves once something was chosen, or nothing. */
export async function welcome(place) {
  const [tags, cities] = await Promise.all([ask("GET", `api/tags?limit=${CHOICE}`), knownCities()]);
  const problems = h("div", { role: "alert" });
  const city = citySelect(cities, null);
  const go = h("button", { class: "main", type: "submit" }, "Show me my events");
  const skip = h("button", { class: "plain", type: "button" }, "Skip");
  const choice = (tag) => {
    const box = h("input", { type: "checkbox", name: "tag", value: tag.id });
    return h("label", { class: "choice" }, box, h("span", {}, tag.name));
  };
  return new Promise((done) => {
    const submit = (event) => {
      event.preventDefault();
      const chosen = new FormData(event.target).getAll("tag").map(Number);
      run(go, problems, async () => {
        const moment = now();
        if (city.value) await changeProfile({ city: city.value });
        if (chosen.length > 0) await ask("PUT", "api/profile/interests", { tag_ids: chosen });
        await loadMine();
        if (chosen.length > 0) acted("you said what you like", moment);
        done();
      });
    };
    skip.addEventListener("click", done);
    place.replaceChildren(
      h(
        "form",
        { class: "card welcome", submit },
        h("h2", { tabindex: -1 }, "What do you like?"),
        h("p", { class: "note" }, "Nothing is known of you yet. Two or three of these will do."),
        h("fieldset", { class: "chips" }, h("legend", {}, "Interests"), tags.map(choice)),
        h("label", { class: "city" }, "City", city),
        problems,
        h("div", { class: "ends" }, go, skip),
      ),
    );
    place.querySelector("h2").focus();
  });
}
