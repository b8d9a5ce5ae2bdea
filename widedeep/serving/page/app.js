// One page, no framework: it asks the HTTP interface and shows what comes back.
import { TEXTS, featureName, sourceName, wordOf } from "./texts.js";

const SHOWN = 12;
const LOOK_EVERY = 3000;
const RATED_SHOWN = matchMedia("(max-width: 52rem)").matches ? 3 : 8;
const $ = (id) => document.getElementById(id);

const state = {
  language: null,
  user: null,
  version: null,
  rated: new Map(),
  allRated: false,
  picks: [],
  found: [],
  sought: "",
};

/* ---------- words ---------- */

function say(key, ...values) {
  const text = TEXTS[state.language][key];
  return typeof text === "function" ? text(...values) : text;
}

function chosenLanguage() {
  const kept = localStorage.getItem("language");
  if (kept === "ko" || kept === "en") return kept;
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

const named = (film) => (state.language === "ko" ? film.korean : film.english);
const otherName = (film) => (state.language === "ko" ? film.english : film.korean);
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

function trouble(error) {
  const box = $("trouble");
  box.hidden = !error;
  if (error) box.textContent = error.type === "no_champion" ? say("noChampion") : say("trouble", error.message);
}

async function guarded(work) {
  try {
    await work();
    trouble(null);
  } catch (error) {
    trouble(error);
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

function title(node, film) {
  const other = otherName(film);
  node.replaceChildren(named(film));
  if (other !== named(film)) {
    const language = state.language === "ko" ? "en" : "ko";
    node.append(" ", element("span", { className: "other", textContent: other, lang: language }));
  }
}

function facts(film) {
  const people = state.language === "ko" ? film.people_korean : film.people_english;
  const genres = film.genres.map((genre) => wordOf(genre, state.language));
  return [film.year, genres.join(", "), people.slice(0, 2).join(", ")].filter(Boolean).join(" · ");
}

/* Ten buttons of which one is in the order of tabs; arrows move between them. */
function scale(film, place) {
  const box = element("div", { className: "scale" });
  const steps = element("div", { className: "steps", role: "group" });
  steps.setAttribute("aria-label", say("rateFilm", named(film)));
  const buttons = Array.from({ length: 10 }, (_, i) => {
    const button = element("button", { type: "button", textContent: String(i + 1), tabIndex: i === 9 ? 0 : -1 });
    button.setAttribute("aria-label", say("outOfTen", i + 1));
    return button;
  });
  const light = (upTo) => buttons.forEach((button, i) => button.classList.toggle("lit", i <= upTo));
  buttons.forEach((button, i) => {
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && light(i));
    button.addEventListener("focus", () => button.matches(":focus-visible") && light(i));
    button.addEventListener("blur", () => light(-1));
    button.addEventListener("click", () => rate(film, i + 1, box, place));
  });
  steps.addEventListener("pointerleave", () => light(-1));
  steps.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -10, End: 10 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const at = buttons.indexOf(document.activeElement);
    const to = Math.min(9, Math.max(0, at + moves[event.key]));
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  });
  steps.append(...buttons);
  box.append(element("span", { className: "asks", textContent: say("seenIt") }), steps);
  return box;
}

function give(node, film, place) {
  const rating = state.rated.get(film.item);
  node.replaceChildren(
    rating ? element("p", { className: "given", textContent: say("given", rating.value) }) : scale(film, place),
  );
}

/* ---------- showing ---------- */

function showFound() {
  $("found").replaceChildren(
    ...state.found.map((film) => {
      const row = copy("film-template");
      title(row.querySelector(".title"), film);
      row.querySelector(".facts").textContent = facts(film);
      give(row.querySelector(".give"), film, "found");
      return row;
    }),
  );
  $("found-count").textContent = state.sought ? say("foundCount", state.found.length) : "";
}

function showRated() {
  const ratings = [...state.rated.values()];
  const shown = state.allRated ? ratings : ratings.slice(0, RATED_SHOWN);
  $("rated").replaceChildren(
    ...shown.map(({ value: given, card: film }) => {
      const score = element("span", { className: "score", textContent: String(given) });
      const name = element("span");
      name.append(element("span", { className: "visually-hidden", textContent: `${say("outOfTen", given)}: ` }), named(film));
      return element("li", {}, score, name);
    }),
  );
  $("rated-count").textContent = ratings.length ? String(ratings.length) : "";
  $("rated-none").hidden = ratings.length > 0;
  $("rated-more").hidden = state.allRated || ratings.length <= RATED_SHOWN;
  $("rated-more").textContent = say("ratedMore", ratings.length - RATED_SHOWN);
}

function showPicks(before = null) {
  const places = before && new Map(before.map((pick, place) => [pick.item, place]));
  const opened = new Set([...document.querySelectorAll(".pick .why[open]")].map((node) => node.dataset.item));
  $("list").replaceChildren(...state.picks.map((pick, place) => pickRow(pick, place, places, opened)));
  $("list").setAttribute("aria-busy", "false");
  $("list-note").textContent = say(state.picks.length ? "listNote" : "listEmpty");
}

function pickRow(pick, place, places, opened) {
  const row = copy("pick-template");
  const film = pick.card;
  row.dataset.item = String(pick.item);
  row.querySelector(".place").textContent = String(place + 1);
  title(row.querySelector(".title"), film);
  const badge = places && change(places.get(pick.item), place);
  if (badge) row.querySelector(".title").append(element("span", { className: "badge", textContent: badge }));
  if (places && !places.has(pick.item)) row.classList.add("fresh");
  row.querySelector(".facts").textContent = facts(film);
  row.querySelector(".sources").textContent = pick.sources.map((name) => sourceName(name, state.language)).join(" · ");
  row.querySelector(".percent").replaceChildren(
    percent(pick.probability),
    element("small", { textContent: say("chance") }),
  );
  row.querySelector(".track span").style.width = percent(pick.probability);
  give(row.querySelector(".give"), film, "list");
  const why = row.querySelector(".why");
  why.dataset.item = String(pick.item);
  why.open = opened.has(String(pick.item));
  const summary = why.querySelector("summary");
  summary.textContent = say("why");
  summary.setAttribute("aria-label", say("whyFilm", named(film)));
  why.querySelector(".because").append(...because(pick));
  return row;
}

function change(was, is) {
  if (was === undefined) return say("fresh");
  return was - is >= 2 ? say("risen", was - is) : "";
}

/* The model's own sum, then what stands behind its two halves. */
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
    const films = why.similar.map((film) => element("li", { textContent: named(film) }));
    blocks.push(element("div", {}, element("h4", { textContent: say("similar") }), element("ul", {}, ...films)));
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
  const largest = Math.max(...fired.map((one) => Math.abs(one.weight)));
  const body = element("tbody");
  for (const one of fired) {
    body.append(tableRow(element("th", { scope: "row", textContent: phrase(one) }), one.weight, largest));
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

/* "liked A → B" and "genres 드라마 x grade 12세" in words for people. */
function phrase(one) {
  const text = state.language === "ko" ? one.korean : one.english;
  const met = /^(liked|disliked) (.*) → /.exec(text);
  if (met) return say(met[1], met[2]);
  return text
    .split(" x ")
    .map((part) => {
      const [, feature, value] = /^(\S+) ?(.*)$/.exec(part);
      return `${featureName(feature, state.language)}: ${say("words")[value] || wordOf(value, state.language).replace(" … ", "–")}`;
    })
    .join(" × ");
}

function showModel(model) {
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
  showFound();
  showRated();
  showPicks();
}

/* ---------- doing ---------- */

async function loadUser() {
  const { ratings } = await ask(`users/${state.user}`);
  state.rated = new Map(ratings.map((one) => [one.item, one]));
}

async function loadPicks() {
  const age = $("audience").value;
  const asked = `recommend/${state.user}?k=${SHOWN}&explain=true${age && `&audience_age=${age}`}`;
  const { items, model } = await ask(asked);
  state.picks = items;
  return model.version;
}

async function become(user) {
  state.user = user;
  state.allRated = false;
  $("user").value = user;
  localStorage.setItem("user", user);
  await Promise.all([loadUser(), loadPicks()]);
  showAll();
  $("said").textContent = say("hello", user, state.rated.size);
}

async function newcomer() {
  const { user } = await ask("new-user");
  await become(String(user));
}

async function rate(film, given, box, place) {
  box.setAttribute("aria-busy", "true");
  await guarded(async () => {
    const body = JSON.stringify({ user: Number(state.user), item: film.item, value: given });
    await ask("feedback", { method: "POST", headers: { "content-type": "application/json" }, body });
    const before = state.picks;
    await Promise.all([loadUser(), loadPicks()]);
    showFound();
    showRated();
    showPicks(before);
    const held = new Set(before.map((pick) => pick.item));
    const fresh = state.picks.filter((pick) => !held.has(pick.item)).length;
    $("said").textContent = say("ratedSaid", named(film), given, fresh);
    if (place === "list") $("list").focus({ preventScroll: true });
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
  state.sought = text;
  state.found = items;
  showFound();
}

/* Another model may answer from one moment to the next. */
async function look() {
  const { model, refused } = await ask("health");
  const seen = `${model.name} ${model.version} ${refused ? refused.at : ""}`;
  if (seen === state.version) return;
  const swapped = state.version !== null && !state.version.startsWith(`${model.name} ${model.version} `);
  const begun = state.user === null;
  state.version = seen;
  showModel(await ask("model"));
  if (begun) {
    const kept = localStorage.getItem("user");
    await (/^[0-9]{1,18}$/.test(kept || "") ? become(kept) : newcomer());
  } else if (swapped) {
    const before = state.picks;
    await loadPicks();
    showPicks(before);
    $("said").textContent = say("swapped", model.version);
  }
}

function wire() {
  $("who").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(() => become(String(BigInt($("user").value))));
  });
  $("newcomer").addEventListener("click", () => guarded(newcomer));
  $("search").addEventListener("input", () => guarded(search));
  $("audience").addEventListener("change", () => guarded(async () => (await loadPicks(), showPicks())));
  $("rated-more").addEventListener("click", () => {
    state.allRated = true;
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
  if (!document.hidden) await guarded(look);
  setTimeout(watch, LOOK_EVERY);
}

speak(chosenLanguage());
wire();
watch();
