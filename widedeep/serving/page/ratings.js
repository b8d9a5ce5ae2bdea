// Buttons for what people say of an item, and what they said.
import { element, named, say, state } from "./base.js";

/* Values that can be given with buttons: an integer range of at most ten steps. */
function steps() {
  const range = state.data?.value;
  if (!range || range.minimum === null || range.maximum === null) return null;
  const count = range.maximum - range.minimum + 1;
  return count <= 10 && Number.isInteger(range.minimum) ? { first: range.minimum, count } : null;
}

function answer(card, tell) {
  const range = steps();
  return range ? scale(card, tell, range) : choice(card, tell);
}

/* Two buttons, where the data have labels and no marks. */
function choice(card, tell) {
  const box = element("div", { className: "scale" });
  const buttons = [true, false].map((label) => {
    const button = element("button", { type: "button", className: "choice", textContent: say(label ? "yes" : "no") });
    button.setAttribute("aria-label", `${named(card)}: ${button.textContent}`);
    button.addEventListener("click", () => tell(card, { label }, button.textContent, box));
    return button;
  });
  box.append(element("span", { className: "question", textContent: say("seenIt", state.aim) }), ...buttons);
  return box;
}

/* What the model predicts, from the answer of /model: the value from which an interaction is positive and
   whether there is no better one; null if people say yes or no. */
export function aimOf(model) {
  const least = model.label?.at_least ?? null;
  if (least === null || !model.data.label_from_value) return null;
  return { least, best: model.data.value.maximum === least };
}

/* Positive; not positive, though in the upper half of the range; or in its lower half. */
function stateOf(rating) {
  if (rating.label) return "liked";
  const { minimum, maximum } = state.data.value || {};
  const upperHalf = state.aim && Number.isFinite(minimum) && Number.isFinite(maximum)
    && rating.value >= (minimum + maximum) / 2;
  return upperHalf ? "between" : "disliked";
}

/* A button a step, of which only one is in the tab order; arrow keys move between them. */
function scale(card, tell, { first, count }) {
  const box = element("div", { className: "scale" });
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
  box.append(element("span", { className: "question", textContent: say("seenIt", state.aim) }), steps);
  return box;
}

/* Show what was said of an item, or else the buttons for it; `tell` takes the answer. */
export function showRating(node, card, tell) {
  const rating = state.rated.get(card.item);
  node.replaceChildren(
    rating ? element("p", { className: "my-rating", textContent: said(rating) }) : answer(card, tell),
  );
}

/* What was said, in words: "You gave 9 of 10: in between". */
function said(rating) {
  if (!state.aim) return say(rating.label ? "saidYes" : "saidNo");
  return `${say("myRating", rating.value, state.data.value.maximum)}: ${say(stateOf(rating))}`;
}

/* A row of the list of what was said. */
export function ratedRow(rating) {
  const standing = stateOf(rating);
  const score = state.aim ? String(rating.value) : rating.label ? "+" : "−";
  const name = element("span");
  name.append(element("span", { className: "visually-hidden", textContent: `${said(rating)}: ` }), named(rating.card));
  const row = element("li", { className: standing }, element("span", { className: "score", textContent: score }), name);
  if (state.aim) row.append(element("span", { className: "standing", textContent: say(standing), ariaHidden: "true" }));
  return row;
}
