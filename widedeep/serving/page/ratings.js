// Buttons for what people say of an item, and what they said.
import { element, named, say, state } from "./base.js";
import { deedOf } from "./texts.js";

/* Values that can be given with buttons: an integer range of at most ten steps. */
function steps() {
  const range = state.data.value;
  if (range.minimum === null || range.maximum === null) return null;
  const count = range.maximum - range.minimum + 1;
  return count <= 10 && Number.isInteger(range.minimum) ? { first: range.minimum, count } : null;
}

/* What the model predicts, from the answer of /model: a value, where the label follows from it (`least` or
   more; that one alone if `only`; the best one if `best`), or else what people do. */
export function aimOf({ label, data }) {
  if (!data.label_from_value) return { deed: deedOf(data.label) };
  const only = label.at_least === null;
  const least = only ? Number(label.equals ?? 1) : label.at_least;
  return { least, only, best: data.value.maximum === least };
}

function answer(card, tell) {
  if (state.aim.deed) return choice(card, tell);
  const range = steps();
  return range ? scale(card, tell, range) : amount(card, tell);
}

/* Two buttons, where the label does not follow from a value; beside a field if there is a value, too. */
function choice(card, tell) {
  const box = questioned(element("div", { className: "scale" }));
  const field = state.data.value && numberField(card);
  const buttons = [true, false].map((label) => {
    const button = element("button", { type: "button", className: "choice", textContent: say(label ? "yes" : "no", state.aim) });
    button.setAttribute("aria-label", `${named(card)}: ${button.textContent}`);
    button.addEventListener("click", () => {
      if (field && !field.reportValidity()) return;
      tell(card, field ? { label, value: field.valueAsNumber } : { label }, button.textContent, box);
    });
    return button;
  });
  box.append(...(field ? [field] : []), ...buttons);
  return box;
}

/* A field for a number, where there are too many values for buttons. */
function amount(card, tell) {
  const box = questioned(element("form", { className: "scale" }));
  const field = numberField(card);
  box.append(field, element("button", { className: "choice", textContent: say("give") }));
  box.addEventListener("submit", (event) => {
    event.preventDefault();
    tell(card, { value: field.valueAsNumber }, field.value, box);
  });
  return box;
}

function numberField(card) {
  const { minimum, maximum, integer } = state.data.value;
  const field = element("input", { type: "number", required: true, min: minimum ?? "", max: maximum ?? "", step: integer ? 1 : "any" });
  field.placeholder = minimum === null || maximum === null ? say("value") : `${minimum}–${maximum}`;
  field.setAttribute("aria-label", say("rateItem", named(card)));
  return field;
}

function questioned(box) {
  box.append(element("span", { className: "question", textContent: say("seenIt", state.aim) }));
  return box;
}

/* Positive; else in the upper or lower half of the range of values; null if it has no ends. */
function standingOf(rating) {
  if (rating.label) return "liked";
  const { minimum, maximum } = state.data.value;
  if (minimum === null || maximum === null) return null;
  return rating.value >= (minimum + maximum) / 2 ? "between" : "disliked";
}

/* A button a step, of which only one is in the tab order; arrow keys move between them. */
function scale(card, tell, { first, count }) {
  const box = questioned(element("div", { className: "scale" }));
  const steps = element("div", { className: "steps", role: "group" });
  const last = count - 1;
  steps.setAttribute("aria-label", say("rateItem", named(card)));
  const buttons = Array.from({ length: count }, (_, i) => {
    const button = element("button", { type: "button", textContent: String(first + i), tabIndex: i === last ? 0 : -1 });
    button.setAttribute("aria-label", say("outOf", first + i, first + last));
    return button;
  });
  const light = (upTo) => buttons.forEach((button, i) => button.classList.toggle("lit", i <= upTo));
  buttons.forEach((button, i) => {
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && light(i));
    button.addEventListener("focus", () => button.matches(":focus-visible") && light(i));
    button.addEventListener("blur", () => light(-1));
    button.addEventListener("click", () => tell(card, { value: first + i }, String(first + i), box));
  });
  steps.addEventListener("pointerleave", () => light(-1));
  steps.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -count, End: count };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const at = buttons.indexOf(document.activeElement);
    const to = Math.min(last, Math.max(0, at + moves[event.key]));
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  });
  steps.append(...buttons);
  box.append(steps);
  return box;
}

/* Show what was said of an item, or else the buttons for it; `tell` takes the answer. */
export function showRating(node, card, tell) {
  const rating = state.rated.get(card.item);
  node.replaceChildren(
    rating ? element("p", { className: "my-rating", textContent: said(rating) }) : answer(card, tell),
  );
}

/* What was said, in words: "You gave it 9 of 10: in between". */
function said(rating) {
  if (state.aim.deed) return say(rating.label ? "saidYes" : "saidNo", state.aim);
  const standing = standingOf(rating);
  const value = say("myRating", rating.value, state.data.value.maximum);
  return standing ? `${value}: ${say(standing)}` : value;
}

/* A row of the list of what was said. */
export function ratedRow(rating) {
  const { deed } = state.aim;
  const standing = deed ? (rating.label ? "saidYes" : "saidNo") : standingOf(rating);
  const score = deed ? (rating.label ? "+" : "−") : String(rating.value);
  const name = element("span");
  name.append(element("span", { className: "visually-hidden", textContent: `${said(rating)}: ` }), named(rating.card));
  const row = element("li", { className: standing || "" }, element("span", { className: "score", textContent: score }), name);
  if (standing) row.append(element("span", { className: "standing", textContent: say(standing, state.aim), ariaHidden: "true" }));
  return row;
}
