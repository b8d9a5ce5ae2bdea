// One page without a framework: it sends requests to the HTTP interface and shows the answers.
import {
  $, ask, chosenLanguage, copy, element, facts, guarded, moment, named, percent, say, speak, state, title,
} from "./base.js";
import { aimOf, ratedRow, showRating } from "./ratings.js";
import { because } from "./reasons.js";
import { featureName, sourceName } from "./texts.js";

const LIST_LENGTH = 12;
const POLL_MS = 3000;
const NARROW = matchMedia("(max-width: 52rem)");

/* ---------- showing ---------- */

function showMatches() {
  $("matches").replaceChildren(
    ...state.matches.map((card) => {
      const row = copy("item-template");
      title(row.querySelector(".title"), card);
      row.querySelector(".facts").textContent = facts(card);
      showRating(row.querySelector(".rate"), card, tellFrom("search"));
      return row;
    }),
  );
  $("match-count").textContent = state.query ? say("matchCount", state.matches.length) : "";
}

function showRated() {
  const ratings = [...state.rated.values()];
  const shown = state.showAllRatings ? ratings : ratings.slice(0, NARROW.matches ? 3 : 8);
  const more = ratings.length - shown.length;
  $("rated").replaceChildren(...shown.map(ratedRow));
  $("rated-count").textContent = ratings.length ? String(ratings.length) : "";
  $("rated-none").hidden = ratings.length > 0;
  $("rated-more").replaceChildren(...(more > 0 ? [moreButton(more)] : []));
}

function moreButton(more) {
  const button = element("button", { type: "button", className: "quiet", textContent: say("ratedMore", more) });
  button.addEventListener("click", () => {
    state.showAllRatings = true;
    showRated();
    $("rated").focus({ preventScroll: true });
  });
  return button;
}

function showPicks(before = null) {
  const positions = before && new Map(before.map((pick, position) => [pick.item, position]));
  const opened = new Set([...document.querySelectorAll(".pick .why[open]")].map((node) => node.dataset.item));
  $("list").replaceChildren(...state.picks.map((pick, position) => pickRow(pick, position, positions, opened)));
  $("list").setAttribute("aria-busy", "false");
  $("list-note").textContent = state.picks.length ? listNote() : say("listEmpty");
}

/* What the percentages are, and how far what was said so far counts in them. */
function listNote() {
  const positive = state.answers.filter((rating) => rating.label).length;
  const soFar = state.answers.length ? [say("listSoFar", state.aim, positive, state.answers.length)] : [];
  return [say("listNote", state.aim), ...soFar].join(" ");
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
  row.querySelector(".sources").textContent = pick.sources.map((name) => sourceName(name, state.language, state.aim)).join(" · ");
  row.querySelector(".percent").replaceChildren(
    percent(pick.probability),
    element("small", { textContent: say("chance", state.aim) }),
  );
  row.querySelector(".track span").style.width = percent(pick.probability);
  showRating(row.querySelector(".rate"), card, tellFrom("list"));
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
  const label = element("label", { htmlFor: id, textContent: featureName(feature, state.language) });
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
  Object.assign(state, { data: model.data, aim: aimOf(model), levels: model.levels });
  document.querySelector("main").hidden = $("model").hidden = false;
  $("audience-box").hidden = !model.data.audience;
  speak(state.language);
  showGiven();
  $("model-chip").hidden = false;
  $("model-chip").textContent = say("modelChip", model.name, model.version);
  $("model-now").textContent = say("modelNow", model.name, model.version, moment(model.since));
  $("what-counts").textContent = say("whatCounts", state.aim, model.positive_share && percent(model.positive_share));
  $("model-why").replaceChildren(...(model.promoted ? [reasonsOf(model.promoted, say("moved", model.promoted))] : []));
  const refused = model.refused.at(-1);
  $("model-refused").hidden = !refused;
  if (refused) $("model-refused").replaceChildren(reasonsOf(refused, say("refused", refused.version)));
  $("history").replaceChildren(...model.history.toReversed().map(decisionRow));
}

function decisionRow(decision) {
  const when = element("time", { dateTime: decision.at, textContent: moment(decision.at) });
  return element("li", {}, when, element("span", { textContent: say("decision", decision) }), reasonsOf(decision));
}

/* The first reason of a decision; the others are folded, and so are all in English on the Korean page. */
function reasonsOf(decision, introduction = "") {
  const reasons = decision.reason.split("; ").filter((reason) => reason.trim());
  const language = /[가-힣]/.test(decision.reason) ? "ko" : "en";
  const foreign = state.language === "ko" && language === "en" && reasons.length > 0;
  const [first, ...rest] = foreign ? [say("recorded"), ...reasons] : reasons;
  const said = (text) => element("span", { textContent: text, lang: foreign && text === first ? state.language : language });
  const shown = [introduction, introduction && first ? ": " : "", ...(first ? [said(first)] : [])];
  if (!rest.length) return element("p", {}, ...shown);
  return element("details", {}, element("summary", {}, ...shown), ...rest.map((reason) => element("p", {}, said(reason))));
}

function showAll() {
  showMatches();
  showRated();
  showPicks();
}

/* ---------- doing ---------- */

async function loadUser() {
  const { ratings } = await ask(`users/${encodeURIComponent(state.user)}`);
  state.answers = ratings;
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

/* Return what sends feedback and shows its effect; the focus returns to the element of this id. */
const tellFrom = (place) => (card, what, words, box) => tell(card, what, words, box, place);

/* Send feedback; `words` are what was said. */
async function tell(card, what, words, box, place) {
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
    $(place).focus({ preventScroll: true });
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
  NARROW.addEventListener("change", arrange);
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

/* On a narrow screen the list stands before what was said, in the order of reading, too. */
function arrange() {
  for (const id of ["given", "rated-section"]) (NARROW.matches ? document.querySelector("main") : $("side")).append($(id));
}

async function watch() {
  if (!document.hidden) await guarded(poll, "poll");
  setTimeout(watch, POLL_MS);
}

speak(chosenLanguage());
wire();
arrange();
watch();
