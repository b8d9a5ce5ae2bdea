// One page without a framework: it sends requests to the HTTP interface and shows the answers.
import { TEXTS, featureName, sourceName } from "./texts.js";

const LIST_LENGTH = 12;
const POLL_MS = 3000;
const RATINGS_SHOWN = matchMedia("(max-width: 52rem)").matches ? 3 : 8;
const $ = (id) => document.getElementById(id);

const state = {
  language: null,
  user: null,
  version: null,
  rated: new Map(),
  showAllRatings: false,
  picks: [],
  matches: [],
  query: "",
  data: null,
  given: { context: {}, user_features: {} },
};

/* ---------- words ---------- */

function say(key, ...values) {
  const text = TEXTS[state.language][key];
  return withNoun(typeof text === "function" ? text(...values) : text);
}

/* Put in what the data call an item: film, 영화. */
function withNoun(text) {
  if (typeof text !== "string") return text;
  const noun = state.language === "ko" ? state.data?.item_korean || "항목" : state.data?.item_english || "item";
  const many = state.language === "ko" ? noun : `${noun}s`;
  const put = text.replaceAll("{item}", noun).replaceAll("{items}", many);
  return /^\{/.test(text) ? put[0].toUpperCase() + put.slice(1) : put;
}

function chosenLanguage() {
  const stored = localStorage.getItem("language");
  if (stored === "ko" || stored === "en") return stored;
  const first = (navigator.languages || [navigator.language]).find((l) => /^(ko|en)\b/.test(l));
  return first && first.startsWith("ko") ? "ko" : "en";
}

function speak(language) {
  state.language = language;
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = say(node.dataset.text);
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = say(node.dataset.placeholder);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", say(node.dataset.label));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
}

const named = (card) => (state.language === "ko" ? card.korean : card.english);
const otherName = (card) => (state.language === "ko" ? card.english : card.korean);
const percent = (value) => `${Math.round(100 * value)}%`;
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
const moment = (iso) =>
  new Intl.DateTimeFormat(state.language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));

/* ---------- asking ---------- */

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.error.message), { type: body.error.type });
  return body;
}

function showError(error) {
  const box = $("error");
  box.hidden = !error;
  if (error) box.textContent = error.type === "no_champion" ? say("noChampion") : say("error", error.message);
}

async function guarded(work) {
  try {
    await work();
    showError(null);
  } catch (error) {
    showError(error);
  }
}

/* ---------- building ---------- */

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function copy(template) {
  return $(template).content.firstElementChild.cloneNode(true);
}

function title(node, card) {
  const other = otherName(card);
  node.replaceChildren(named(card));
  if (other !== named(card)) {
    const language = state.language === "ko" ? "en" : "ko";
    node.append(" ", element("span", { className: "other", textContent: other, lang: language }));
  }
}

function facts(card) {
  const language = state.language === "ko" ? "korean" : "english";
  const features = state.data?.features || [];
  return card.attributes.map((attribute) => {
    const text = attribute[language].slice(0, 3).join(", ");
    const isNumber = features.some((feature) => feature.name === attribute.name && feature.type === "number");
    return isNumber ? `${featureName(attribute.name, state.language, features)} ${text}` : text;
  }).join(" · ");
}

/* Values that can be given with buttons: an integer range of at most ten steps. */
function steps() {
  const range = state.data?.value;
  if (!range || range.minimum === null || range.maximum === null) return null;
  const count = range.maximum - range.minimum + 1;
  return count <= 10 && Number.isInteger(range.minimum) ? { first: range.minimum, count } : null;
}

function answer(card, list) {
  const range = steps();
  return range ? scale(card, list, range) : choice(card, list);
}

/* Two buttons, where the data have labels and no marks. */
function choice(card, list) {
  const box = element("div", { className: "scale" });
  const buttons = [true, false].map((label) => {
    const button = element("button", { type: "button", className: "choice", textContent: say(label ? "yes" : "no") });
    button.setAttribute("aria-label", `${named(card)}: ${button.textContent}`);
    button.addEventListener("click", () => tell(card, { label }, button.textContent, box, list));
    return button;
  });
  box.append(element("span", { className: "question", textContent: say("seenIt") }), ...buttons);
  return box;
}

/* A button a step, of which only one is in the tab order; arrow keys move between them. `list` is where
   the item is shown: the focus returns there after a rating. */
function scale(card, list, { first, count }) {
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
    button.addEventListener("click", () => tell(card, { value: first + i }, String(first + i), box, list));
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
  box.append(element("span", { className: "question", textContent: say("seenIt") }), steps);
  return box;
}

function showRating(node, card, list) {
  const rating = state.rated.get(card.item);
  node.replaceChildren(
    rating ? element("p", { className: "my-rating", textContent: said(rating) }) : answer(card, list),
  );
}

function said(rating) {
  return steps() ? say("myRating", rating.value) : say(rating.label ? "saidYes" : "saidNo");
}

/* ---------- showing ---------- */

function showMatches() {
  $("matches").replaceChildren(
    ...state.matches.map((card) => {
      const row = copy("item-template");
      title(row.querySelector(".title"), card);
      row.querySelector(".facts").textContent = facts(card);
      showRating(row.querySelector(".rate"), card, "matches");
      return row;
    }),
  );
  $("match-count").textContent = state.query ? say("matchCount", state.matches.length) : "";
}

function showRated() {
  const ratings = [...state.rated.values()];
  const shown = state.showAllRatings ? ratings : ratings.slice(0, RATINGS_SHOWN);
  $("rated").replaceChildren(
    ...shown.map((rating) => {
      const { value, label, card } = rating;
      const score = element("span", { className: "score", textContent: steps() ? String(value) : label ? "+" : "−" });
      const name = element("span");
      name.append(element("span", { className: "visually-hidden", textContent: `${said(rating)}: ` }), named(card));
      return element("li", {}, score, name);
    }),
  );
  $("rated-count").textContent = ratings.length ? String(ratings.length) : "";
  $("rated-none").hidden = ratings.length > 0;
  $("rated-more").hidden = state.showAllRatings || ratings.length <= RATINGS_SHOWN;
  $("rated-more").textContent = say("ratedMore", ratings.length - RATINGS_SHOWN);
}

function showPicks(before = null) {
  const positions = before && new Map(before.map((pick, position) => [pick.item, position]));
  const opened = new Set([...document.querySelectorAll(".pick .why[open]")].map((node) => node.dataset.item));
  $("list").replaceChildren(...state.picks.map((pick, position) => pickRow(pick, position, positions, opened)));
  $("list").setAttribute("aria-busy", "false");
  $("list-note").textContent = state.picks.length ? say("listNote", state.data?.label) : say("listEmpty");
}

function pickRow(pick, position, positions, opened) {
  const row = copy("pick-template");
  const card = pick.card;
  row.dataset.item = String(pick.item);
  row.querySelector(".position").textContent = String(position + 1);
  title(row.querySelector(".title"), card);
  const badge = positions && change(positions.get(pick.item), position);
  if (badge) row.querySelector(".title").append(element("span", { className: "badge", textContent: badge }));
  if (positions && !positions.has(pick.item)) row.classList.add("fresh");
  row.querySelector(".facts").textContent = facts(card);
  row.querySelector(".sources").textContent = pick.sources.map((name) => sourceName(name, state.language)).join(" · ");
  row.querySelector(".percent").replaceChildren(
    percent(pick.probability),
    element("small", { textContent: say("chance") }),
  );
  row.querySelector(".track span").style.width = percent(pick.probability);
  showRating(row.querySelector(".rate"), card, "list");
  const why = row.querySelector(".why");
  why.dataset.item = String(pick.item);
  why.open = opened.has(String(pick.item));
  const summary = why.querySelector("summary");
  summary.textContent = say("why");
  summary.setAttribute("aria-label", say("whyItem", named(card)));
  why.querySelector(".because").append(...because(pick));
  return row;
}

function change(before, now) {
  if (before === undefined) return say("fresh");
  return before - now >= 2 ? say("risen", before - now) : "";
}

/* The sum of the logit, then what the wide part and the deep part contribute. */
function because(pick) {
  const { why } = pick;
  const parts = [
    ["start", why.bias + why.offset],
    ["memory", why.wide],
    ["taste", why.deep],
  ];
  const blocks = [sumTable(parts, pick)];
  if (why.fired.length) blocks.push(firedTable(why.fired));
  if (why.similar.length) {
    const items = why.similar.map((similar) => element("li", { textContent: named(similar) }));
    blocks.push(element("div", {}, element("h4", { textContent: say("similar") }), element("ul", {}, ...items)));
  }
  return blocks;
}

function sumTable(parts, pick) {
  const largest = Math.max(1, ...parts.map(([, value]) => Math.abs(value)));
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

function firedTable(fired) {
  const largest = Math.max(...fired.map((feature) => Math.abs(feature.weight)));
  const body = element("tbody");
  for (const feature of fired) {
    body.append(tableRow(element("th", { scope: "row", textContent: phrase(feature) }), feature.weight, largest));
  }
  return element("div", {}, element("h4", { textContent: say("fired") }), element("table", {}, body));
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

/* Turn names of wide features ("liked A → B", "genres 드라마 x grade 12세") into words. */
function phrase(fired) {
  const text = named(fired);
  const cross = /^(liked|disliked) (.*) → /.exec(text);
  if (cross) return say(cross[1], cross[2]);
  return text
    .split(" x ")
    .map((part) => {
      const [, feature, value] = /^(\S+) ?(.*)$/.exec(part);
      const name = withNoun(featureName(feature, state.language, state.data?.features || []));
      return `${name}: ${say("words")[value] || value.replace(" … ", "–")}`;
    })
    .join(" × ");
}

/* Inputs for what a request may say of the context and the user. */
function showGiven() {
  const features = state.data.features.filter(
    ({ side, type }) => side !== "item" && !["hour", "weekday", "month", "bag"].includes(type),
  );
  $("given").hidden = !features.length;
  $("given-fields").replaceChildren(...features.map(givenField));
}

function givenField(feature) {
  const part = feature.side === "user" ? "user_features" : "context";
  const id = `given-${feature.name}`;
  const label = element("label", { htmlFor: id, textContent: featureName(feature.name, state.language, state.data.features) });
  const options = ["", ...feature.values].map((value) => element("option", { value, textContent: value || say("notSaid") }));
  const field = feature.values.length
    ? element("select", { id }, ...options)
    : element("input", { id, type: feature.type === "category" ? "text" : "number", step: "any", maxLength: 100 });
  field.value = state.given[part][feature.name] ?? "";
  field.addEventListener("change", () =>
    guarded(async () => {
      delete state.given[part][feature.name];
      if (field.value) state.given[part][feature.name] = field.type === "number" ? Number(field.value) : field.value;
      const before = state.picks;
      await loadPicks();
      showPicks(before);
    }),
  );
  return element("div", { className: "field" }, label, field);
}

function showModel(model) {
  state.data = model.data;
  $("audience-box").hidden = !model.data.audience;
  speak(state.language);
  showGiven();
  $("model-chip").hidden = false;
  $("model-chip").textContent = say("modelChip", model.name, model.version);
  $("model-now").textContent = say("modelNow", model.name, model.version, moment(model.since));
  const reasons = model.promoted ? model.promoted.reason.split("; ") : [];
  $("model-why").replaceChildren(...reasons.map((reason) => element("li", { textContent: reason, lang: "en" })));
  const refused = model.refused.at(-1);
  $("model-refused").hidden = !refused;
  if (refused) $("model-refused").textContent = say("refused", refused.version, refused.reason);
  $("history").replaceChildren(...model.history.toReversed().map(decisionRow));
}

function decisionRow(decision) {
  const when = element("time", { dateTime: decision.at, textContent: moment(decision.at) });
  const [first, ...rest] = decision.reason.split("; ");
  const details = element("details", { lang: "en" }, element("summary", { textContent: first }));
  details.append(...rest.map((reason) => element("p", { textContent: reason })));
  return element("li", {}, when, element("span", { textContent: say("decision", decision.version, decision.action) }), details);
}

function showAll() {
  showMatches();
  showRated();
  showPicks();
}

/* ---------- doing ---------- */

async function loadUser() {
  const { ratings } = await ask(`users/${encodeURIComponent(state.user)}`);
  state.rated = new Map(ratings.map((rating) => [rating.item, rating]));
}

async function send(path, body) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return ask(path, options);
}

async function loadPicks() {
  const age = $("audience").value;
  const body = { k: LIST_LENGTH, explain: true, ...state.given, ...(age && { audience_age: Number(age) }) };
  const { items, model } = await send(`recommend/${encodeURIComponent(state.user)}`, body);
  state.picks = items;
  return model.version;
}

async function become(user) {
  state.user = user;
  state.showAllRatings = false;
  $("user").value = user;
  localStorage.setItem("user", user);
  await Promise.all([loadUser(), loadPicks()]);
  showAll();
  $("announcement").textContent = say("hello", user, state.rated.size);
}

async function becomeNewUser() {
  const { user } = await ask("new-user");
  await become(String(user));
}

/* Send feedback; `words` are what was said. */
async function tell(card, what, words, box, list) {
  box.setAttribute("aria-busy", "true");
  await guarded(async () => {
    const user = /^(0|[1-9][0-9]{0,14})$/.test(state.user) ? Number(state.user) : state.user;
    await send("feedback", { user, item: card.item, ...what, ...state.given });
    const before = state.picks;
    await Promise.all([loadUser(), loadPicks()]);
    showMatches();
    showRated();
    showPicks(before);
    const known = new Set(before.map((pick) => pick.item));
    const fresh = state.picks.filter((pick) => !known.has(pick.item)).length;
    $("announcement").textContent = say("ratedAnnouncement", named(card), words, fresh);
    if (list === "list") $("list").focus({ preventScroll: true });
    else $("search").focus({ preventScroll: true });
  });
  box.removeAttribute("aria-busy");
}

let typing = 0;
async function search() {
  const text = $("search").value.trim();
  const turn = ++typing;
  await new Promise((done) => setTimeout(done, 120));
  if (turn !== typing) return;
  const items = text ? (await ask(`items?limit=8&q=${encodeURIComponent(text)}`)).items : [];
  if (turn !== typing) return;
  state.query = text;
  state.matches = items;
  showMatches();
}

/* Poll for the model that answers: it may change at any time. */
async function poll() {
  const { model, refused } = await ask("health");
  const current = `${model.name} ${model.version} ${refused ? refused.at : ""}`;
  if (current === state.version) return;
  const swapped = state.version !== null && !state.version.startsWith(`${model.name} ${model.version} `);
  const first = state.user === null;
  state.version = current;
  showModel(await ask("model"));
  if (first) {
    const stored = localStorage.getItem("user");
    await (stored ? become(stored) : becomeNewUser());
  } else if (swapped) {
    const before = state.picks;
    await loadPicks();
    showPicks(before);
    $("announcement").textContent = say("swapped", model.version);
  }
}

function wire() {
  $("who").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(() => become($("user").value.trim()));
  });
  $("new-user").addEventListener("click", () => guarded(becomeNewUser));
  $("search").addEventListener("input", () => guarded(search));
  $("audience").addEventListener("change", () => guarded(async () => (await loadPicks(), showPicks())));
  $("rated-more").addEventListener("click", () => {
    state.showAllRatings = true;
    showRated();
  });
  $("model-chip").addEventListener("click", () => {
    $("model").scrollIntoView({ behavior: "smooth" });
    $("model").focus({ preventScroll: true });
  });
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      localStorage.setItem("language", button.dataset.language);
      speak(button.dataset.language);
      guarded(async () => {
        if (state.user !== null) showAll();
        if (state.version !== null) showModel(await ask("model"));
      });
    });
  }
}

async function watch() {
  if (!document.hidden) await guarded(poll);
  setTimeout(watch, POLL_MS);
}

speak(chosenLanguage());
wire();
watch();
