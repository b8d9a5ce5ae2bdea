// Why an item is in the list: its score taken apart, in words.
import { element, named, percent, say, sentence, signed, state } from "./base.js";
import { featureName } from "./texts.js";

/* Smaller parts would be shown as 0.00. */
const SMALLEST_SHOWN = 0.005;
const MOST_SHOWN = 5;
/* The bags of items that a model remembers of a user. */
const MEMORIES = { liked: "did", disliked: "didNot" };
/* How reasons call what they have no value for, and what a model knows too little of. */
const MISSING = "missing";
const RARE = "(rare)";
const NOTHING = { user_fast: "nothingYet", item_short_mean: "nothingOfItem" };
const HISTORY = ["expected_logit", "mean_plus_residual", "user_fast", "item_short_mean"];
const LEVELS = ["low", "average", "high"];
const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const BUCKET = /_bucket$/;

/* The logit as a sum, then what the wide part remembers; all bars have one scale. */
export function because(pick) {
  const { why } = pick;
  const parts = [
    ["start", why.bias + why.offset],
    ["memory", why.wide],
    ["taste", why.deep],
  ];
  const rows = rememberedOf(why, pick.card);
  const largest = Math.max(1, ...[...parts, ...rows].map(([, value]) => Math.abs(value)));
  const blocks = [sumTable(parts, pick, largest)];
  if (rows.length) blocks.push(memoryTable(rows, largest));
  if (why.similar.length) {
    const items = why.similar.map((similar) => element("li", { textContent: named(similar) }));
    const heading = element("h4", { textContent: say("similar", state.aim) });
    blocks.push(element("div", {}, heading, element("ul", {}, ...items)));
  }
  return blocks;
}

/* Phrases of the wide features that fired, with their weights, and the rest of the wide part's sum. */
function rememberedOf(why, candidate) {
  const weights = new Map();
  for (const feature of why.fired) {
    const text = phrase(feature, candidate);
    if (text) weights.set(text, (weights.get(text) || 0) + feature.weight);
  }
  const heaviest = [...weights].sort(([, a], [, b]) => Math.abs(b) - Math.abs(a)).slice(0, MOST_SHOWN);
  const shown = heaviest.filter(([, weight]) => Math.abs(weight) >= SMALLEST_SHOWN);
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
  const head = element("th", { scope: "row" }, say("together"), element("small", { textContent: say("togetherAbout") }));
  const total = element("tr", { className: "sum" }, head);
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

/* Say in a sentence that a wide feature is present; null if the page has no words for it. */
function phrase(fired, candidate) {
  const names = fired.block.split(" x ");
  const text = named(fired);
  const end = [named(candidate), RARE].map((name) => ` → ${name}`).find((suffix) => text.endsWith(suffix));
  if (end && names[0] in MEMORIES) return remembered(names[0], text.slice(names[0].length + 1, -end.length));
  const values = valuesOf(text, names);
  const sentences = values ? names.map((name, i) => sentenceOn(name.replace(BUCKET, ""), values[i])) : [null];
  return sentences.includes(null) ? null : sentences.length > 1 ? say("and", [...new Set(sentences)]) : sentences[0];
}

/* The values in a text such as "genres 드라마 x user_count 3 … 8", by the names of its features. */
function valuesOf(text, names) {
  const literal = (name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const parts = names.map((name) => `(?:${literal(name)}|${literal(name.replace(BUCKET, ""))}) (.*)`);
  return new RegExp(`^${parts.join(" x ")}$`).exec(text)?.slice(1);
}

function remembered(memory, item) {
  return say(MEMORIES[memory], item === RARE ? say("rare") : item, state.aim);
}

function sentenceOn(name, value) {
  if (name in MEMORIES) return remembered(name, value);
  if (name === "item") return sentence(value === RARE ? "newItem" : "item");
  const own = state.data.features.find((feature) => feature.name === name);
  const level = LEVELS.indexOf(state.levels[name]?.[value]);
  return own ? sentenceOnAttribute(own, value, level) : sentenceOnHistory(name, value, level);
}

/* A sentence on an attribute of the item or the user, or on the context. */
function sentenceOnAttribute(feature, value, level) {
  const { side, type } = feature;
  const name = featureName(feature, state.language);
  if (value === MISSING) return sentence("unknown", side, name);
  if (value === RARE) return sentence("rare", side, name);
  if (type === "number" || type === "age") return level < 0 ? null : sentence(type, side, name, level);
  if (type === "hour") return sentence(type, value);
  if (type === "weekday") return sentence(type, dateName({ weekday: "long" }, 1, DAYS.indexOf(value) + 1));
  if (type === "month") return sentence(type, dateName({ month: "long" }, Number(value), 1));
  return sentence("value", side, name, value);
}

/* The name of the weekday or month of a day in 2024, which began on a Monday. */
function dateName(format, month, day) {
  return new Intl.DateTimeFormat(state.language, { ...format, timeZone: "UTC" }).format(Date.UTC(2024, month - 1, day));
}

/* A sentence on what was observed before; null for numbers without words. */
function sentenceOnHistory(name, value, level) {
  const count = state.answers.length;
  if (name === "user_count") return count ? sentence(name, count, state.aim) : sentence("nothingYet", state.aim);
  if (value === MISSING && name in NOTHING) return sentence(NOTHING[name], state.aim);
  return level >= 0 && HISTORY.includes(name) ? sentence(name, level, state.aim) : null;
}
