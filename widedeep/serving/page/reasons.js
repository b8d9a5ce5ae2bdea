// Why an item is in the list: its score taken apart, in words.
import { element, named, percent, say, signed, state, withNoun } from "./base.js";
import { LEVEL_WORDS, featureName } from "./texts.js";

/* Smaller parts would be shown as 0.00. */
const SMALLEST_SHOWN = 0.005;
/* The bags of items that a model remembers of a user. */
const MEMORIES = { liked: "gaveEnough", disliked: "gaveLess" };

/* The logit as a sum, then what the wide part remembers; all bars have one scale. */
export function because(pick) {
  const { why } = pick;
  const parts = [
    ["start", why.bias + why.offset],
    ["memory", why.wide],
    ["taste", why.deep],
  ];
  const remembered = rememberedOf(why);
  const largest = Math.max(1, ...[...parts, ...remembered].map(([, value]) => Math.abs(value)));
  const blocks = [sumTable(parts, pick, largest)];
  if (remembered.length) blocks.push(memoryTable(remembered, largest));
  if (why.similar.length) {
    const items = why.similar.map((similar) => element("li", { textContent: named(similar) }));
    const heading = element("h4", { textContent: say("similar", state.aim) });
    blocks.push(element("div", {}, heading, element("ul", {}, ...items)));
  }
  return blocks;
}

/* Phrases of the wide features that fired, with their weights, and the rest of the wide part's sum. */
function rememberedOf(why) {
  const weights = new Map();
  for (const feature of why.fired) {
    const text = phrase(feature);
    if (text) weights.set(text, (weights.get(text) || 0) + feature.weight);
  }
  const shown = [...weights].filter(([, weight]) => Math.abs(weight) >= SMALLEST_SHOWN);
  if (!shown.length) return [];
  const rest = shown.reduce((left, [, weight]) => left - weight, why.wide);
  return Math.abs(rest) < SMALLEST_SHOWN ? shown : [...shown, [say("rest"), rest]];
}

function sumTable(parts, pick, largest) {
  const body = element("tbody");
  for (const [name, value] of parts) {
    const head = element("th", { scope: "row" }, say(name), element("small", { textContent: say(`${name}About`) }));
    body.append(tableRow(head, value, largest));
  }
  const total = element("tr", { className: "sum" }, element("th", { scope: "row", textContent: say("together") }));
  total.append(element("td", { className: "amount", textContent: signed(pick.why.logit) }));
  total.append(element("td", { className: "bar", textContent: say("isChance", percent(pick.probability)) }));
  body.append(total);
  return element("table", {}, element("caption", { className: "visually-hidden", textContent: say("sum") }), body);
}

function memoryTable(remembered, largest) {
  const rows = remembered.map(([text, weight]) => tableRow(element("th", { scope: "row", textContent: text }), weight, largest));
  return element("div", {}, element("h4", { textContent: say("fired") }), element("table", {}, element("tbody", {}, ...rows)));
}

function tableRow(head, value, largest) {
  const bar = element("span", { className: value < 0 ? "minus" : "" });
  bar.style.width = `${(50 * Math.abs(value)) / largest}%`;
  const weight = element("span", { className: "weight" }, bar);
  weight.setAttribute("aria-hidden", "true");
  return element(
    "tr",
    {},
    head,
    element("td", { className: "amount", textContent: signed(value) }),
    element("td", { className: "bar" }, weight),
  );
}

/* Turn a wide feature ("liked A → B", "genres 드라마 x user_count 3 … 8") into words: null if a part has
   none, such as a number that the page has no name for. */
function phrase(fired) {
  const text = named(fired);
  const cross = /^(liked|disliked) (.*) → /.exec(text);
  if (cross) return say(MEMORIES[cross[1]], cross[2], state.aim);
  const parts = text.split(" x ").map(part);
  return parts.includes(null) ? null : parts.join(" × ");
}

function part(text) {
  const [, feature, value] = /^(\S+) ?(.*)$/.exec(text);
  if (feature in MEMORIES) return say(MEMORIES[feature], value, state.aim);
  const name = featureName(feature, state.language, state.data.features);
  const words = name && wordsOf(feature, value);
  return words ? withNoun(`${name}: ${words}`) : null;
}

/* The words of a feature's value. Ranges of numbers become low, about average, high. */
function wordsOf(feature, value) {
  const own = state.data.features.find(({ name }) => name === feature);
  const isNumber = own ? own.type === "number" || own.type === "age" : feature in LEVEL_WORDS;
  if (value in say("words")) return say("words")[value];
  if (!isNumber) return value;
  const words = say("levels")[own?.type === "age" ? "age" : LEVEL_WORDS[feature] || "amount"];
  return words[state.levels[feature]?.[value]] || null;
}
