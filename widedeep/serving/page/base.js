// What every part of the page needs: the state, words in the chosen language, requests, elements.
import { TEXTS, featureName, withParticles } from "./texts.js";

export const $ = (id) => document.getElementById(id);

export const state = {
  language: null,
  user: null,
  version: null,
  answers: [],
  rated: new Map(),
  showAllRatings: false,
  picks: [],
  matches: [],
  query: "",
  data: null,
  aim: null,
  levels: {},
  given: { context: {}, user_features: {} },
};

/* ---------- words ---------- */

export function say(key, ...values) {
  const text = TEXTS[state.language][key];
  return withNoun(typeof text === "function" ? text(...values) : text);
}

/* A sentence that explains a score. */
export function sentence(kind, ...values) {
  return withNoun(TEXTS[state.language].sentences[kind](...values));
}

/* Put in what the data call an item: film, 영화. */
function withNoun(text) {
  const noun = state.language === "ko" ? state.data?.item_korean || "항목" : state.data?.item_english || "item";
  const many = state.language === "ko" ? noun : `${noun}s`;
  const put = text.replaceAll("{item}", noun).replaceAll("{items}", many);
  if (state.language === "ko") return withParticles(put);
  return /^\{/.test(text) ? put[0].toUpperCase() + put.slice(1) : put;
}

export function chosenLanguage() {
  const stored = localStorage.getItem("language");
  if (stored === "ko" || stored === "en") return stored;
  const first = (navigator.languages || [navigator.language]).find((l) => /^(ko|en)\b/.test(l));
  return first && first.startsWith("ko") ? "ko" : "en";
}

export function speak(language) {
  state.language = language;
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = say(node.dataset.text);
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = say(node.dataset.placeholder);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", say(node.dataset.label));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
}

export const named = (card) => (state.language === "ko" ? card.korean : card.english);
export const otherName = (card) => (state.language === "ko" ? card.english : card.korean);
export const percent = (value) => `${Math.round(100 * value)}%`;
export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
export const moment = (iso) =>
  new Intl.DateTimeFormat(state.language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));

/* ---------- asking ---------- */

export async function ask(path, options) {
  const answer = await fetch(path, options).catch((error) => {
    throw Object.assign(error, { type: "offline" });
  });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.error.message), { type: body.error.type });
  return body;
}

function showError(error) {
  const box = $("error");
  box.hidden = !error;
  const refused = error?.type === "no_champion" && error.message.includes("was refused");
  if (error) box.textContent = say("errors", refused ? "refused" : error.type, error.message);
}

/* Show an error of `work` until work of the same kind succeeds: polling does not wipe out what went wrong
   with something that a person did. */
let failed = null;
export async function guarded(work, kind = "action") {
  try {
    await work();
    if (failed === kind) showError((failed = null));
  } catch (error) {
    failed = kind;
    showError(error);
  }
}

/* ---------- building ---------- */

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

export function copy(template) {
  return $(template).content.firstElementChild.cloneNode(true);
}

export function title(node, card) {
  const other = otherName(card);
  node.replaceChildren(named(card));
  if (other !== named(card)) {
    const language = state.language === "ko" ? "en" : "ko";
    node.append(" ", element("span", { className: "other", textContent: other, lang: language }));
  }
}

export function facts(card) {
  const language = state.language === "ko" ? "korean" : "english";
  const features = state.data?.features || [];
  return card.attributes.map((attribute) => {
    const text = attribute[language].slice(0, 3).join(", ");
    const own = features.find((feature) => feature.name === attribute.name);
    const isNumber = own?.type === "number";
    return isNumber ? `${featureName(own, state.language)} ${text}` : text;
  }).join(" · ");
}
