// The form to sign in with, the same on every page.

import { h, run } from "./dom.js";
import { signIn } from "./session.js";

/** Show the form in place of what `place` holds; resolves once somebody is signed in. */
export function signInForm(place, { note, registering = false }) {
  return new Promise((done) => {
    const problems = h("div", { role: "alert" });
    const field = (label, attributes) =>
      h("label", {}, label, h("input", { required: true, ...attributes }));
    const email = field("E-mail", {
      name: "email",
      type: "email",
      autocomplete: "username",
      "aria-describedby": "note",
    });
    const enter = h("button", { class: "main", type: "submit" }, "Sign in");
    const join = h("button", { type: "submit", value: "register" }, "Make a new account");
    const submit = (event) => {
      event.preventDefault();
      const { email, password } = event.target.elements;
      const register = event.submitter === join;
      run(event.submitter, problems, async () => {
        await signIn(email.value, password.value, { register });
        place.replaceChildren();
        done();
      });
    };
    place.replaceChildren(
      h(
        "form",
        { class: "card sign-in", submit },
        h("h2", {}, "Sign in"),
        h("p", { class: "note", id: "note" }, note),
        email,
        field("Password", { name: "password", type: "password", autocomplete: "current-password" }),
        problems,
        enter,
        registering ? join : null,
      ),
    );
    email.querySelector("input").focus();
  });
}
