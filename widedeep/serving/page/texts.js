// Every word of the page, in both languages.

/* {item} and {items} stand for what the data call an item; app.js puts the words in. */
const films = (n) => (n === 1 ? "1 {item}" : `${n} {items}`);

const ACTIONS = {
  en: { promote: "promoted", hold: "held back", insufficient_evidence: "not enough evidence" },
  ko: { promote: "승격", hold: "보류", insufficient_evidence: "근거 부족" },
};

const OUTSIDE = "moved outside widedeep";

/* What people do in data whose label is no value: nouns and forms of the verb. */
const DEEDS = [
  { of: /click/i, noun: "a click", plural: "clicks", base: "click", past: "clicked", participle: "clicked", ko: "클릭" },
  { of: /buy|bought|purchas/i, noun: "a purchase", plural: "purchases", base: "buy", past: "bought", participle: "bought", ko: "구매" },
  { of: /watch|view|play/i, noun: "a view", plural: "views", base: "watch", past: "watched", participle: "watched", ko: "시청" },
  { of: /(?:)/, noun: "a choice", plural: "choices", base: "choose", past: "chose", participle: "chosen", ko: "선택" },
];

/* The words for a label by the text of its rule, such as "clicked = 1". */
export const deedOf = (rule) => DEEDS.find(({ of }) => of.test(rule));

/* Phrases on what the model predicts: a value (`least` or more; that one alone if `only`), or a deed. */
const article = (n) => (/^(8|11|18)/.test(String(n)) ? "an" : "a");
const AIM = {
  en: ({ deed, least, only, best }) => {
    if (deed) {
      const { noun, plural, base, past, participle } = deed;
      return {
        noun, many: plural, liked: past, likedBy: participle, gave: past, got: `was ${participle}`,
        share: (p) => `${p} of the interactions are ${plural}`, you: `you ${base} it`,
        did: (name) => `You ${past} ${name}.`, didNot: (name) => `You did not ${base} ${name}.`,
      };
    }
    const noun = only || best ? `${article(least)}\u00a0${least}` : `${least} or more`;
    return {
      noun, many: noun, liked: "liked", likedBy: "liked", gave: `gave ${noun}`, got: `got ${noun}`,
      share: (p) => `${p} of the ratings are ${only || best ? "one" : "that high"}`, you: `you give it ${noun}`,
      did: (name) => `You gave ${name} ${noun}.`,
      didNot: (name) => (only ? `You gave ${name} another rating than ${least}.` : `You gave ${name} less than ${least}.`),
    };
  },
  ko: ({ deed, least, only, best }) => {
    if (deed) {
      const noun = deed.ko;
      return {
        noun, liked: noun, gave: `${noun}한`, got: `${noun}된`,
        share: (p) => `전체 기록의 ${p}\u2060가 ${noun}입니다`, you: `당신이 ${noun}할`, whether: `${noun}할지`,
        did: (name) => `${name}을(를) ${noun}했습니다.`, didNot: (name) => `${name}을(를) ${noun}하지 않았습니다.`,
      };
    }
    const noun = only || best ? `${least}점` : `${least}점 이상`;
    return {
      noun, liked: "좋아", gave: `${noun}을 준`, got: `${noun}을 받은`,
      share: (p) => `전체 평점의 ${p}\u2060가 ${noun}입니다`, you: `당신이 ${noun}을 줄`, whether: `${noun}을 줄지`,
      did: (name) => `${name}에 ${noun}을 주었습니다.`,
      didNot: (name) => (only ? `${name}에 ${least}점이 아닌 점수를 주었습니다.` : `${name}에 ${least}점보다 낮은 점수를 주었습니다.`),
    };
  },
};

/* Korean particles follow the sound before them: 영화와, 상품과. Texts write both: 와(과). */
const PARTICLES = { "은(는)": ["은", "는"], "이(가)": ["이", "가"], "을(를)": ["을", "를"], "와(과)": ["과", "와"] };
const endsInConsonant = (letter) => {
  const syllable = letter.charCodeAt(0) - 0xac00;
  if (syllable >= 0 && syllable < 11172) return syllable % 28 > 0;
  return /[013678bcklmnpLMNR]/.test(letter);
};
export const withParticles = (text) =>
  text.replace(/([\p{L}\p{N}])([^\p{L}\p{N}]*?)(은\(는\)|이\(가\)|을\(를\)|와\(과\))/gu, (_, letter, between, particle) =>
    letter + between + PARTICLES[particle][endsInConsonant(letter) ? 0 : 1]);

/* Whose feature it is, in a sentence on it. */
const OWNER = { item: "Its", user: "Your", context: "The" };
const SUBJECT = { item: "이 {item}의 ", user: "당신의 ", context: "" };

export const TEXTS = {
  en: {
    skip: "Skip to your list",
    languages: "Language",
    who: "Who are you?",
    userLabel: "User id",
    go: "Be this user",
    newUser: "Start as a new user",
    searchTitle: "Find {items} you know",
    searchHint: "A title or an id",
    matchCount: (n) => (n ? `${films(n)} found` : "No {item} of that title"),
    ratedTitle: "What you said",
    ratedNone: "Nothing yet. Each answer changes the list at once.",
    ratedMore: (n) => `Show ${n} more`,
    listTitle: "For you",
    listNote: (aim) => `The percentage is the probability that ${AIM.en(aim).you}, as the model sees it. The most probable comes first.`,
    listSoFar: (aim, hits, n) => `Of your ${n} ${aim.deed ? "answer" : "rating"}${n === 1 ? "" : "s"} so far, ${hits > 1 ? `${hits} are ${AIM.en(aim).many}` : `${hits || "none"} is ${AIM.en(aim).noun}`}; the percentages take that into account.`,
    listEmpty: "Nothing is left to recommend here.",
    audience: "For",
    everyone: "adults",
    age15: "15 and over",
    age12: "12 and over",
    age0: "everybody",
    chance: (aim) => `chance of ${AIM.en(aim).noun}`,
    whatCounts: (aim, share) => `The model predicts ${AIM.en(aim).noun}${share ? `; ${AIM.en(aim).share(share)}` : ""}.`,
    seenIt: (aim) => (aim.deed ? "Your answer" : `Your rating; ${AIM.en(aim).noun} counts`),
    give: "Rate",
    value: "Rating",
    yes: ({ deed }) => `I ${deed.past} it`,
    no: ({ deed }) => `I did not ${deed.base} it`,
    saidYes: ({ deed }) => `You ${deed.past} it`,
    saidNo: ({ deed }) => `You did not ${deed.base} it`,
    aboutYou: "About you and this visit",
    notSaid: "not said",
    myRating: (n, most) => `You gave it ${n}${most === null ? "" : ` of ${most}`}`,
    liked: "liked",
    between: "in between",
    disliked: "disliked",
    rateItem: (name) => `Rate ${name}`,
    outOf: (n, most) => `${n} out of ${most}`,
    fresh: "new",
    risen: (n) => `up ${n}`,
    why: "Why this one",
    whyItem: (name) => `Why ${name}`,
    sum: "How the chance is computed",
    start: "Expectation",
    startAbout: "what is usual, and how this {item} and you did so far",
    memory: "Memory",
    memoryAbout: "combinations that the wide part remembers",
    taste: "Taste",
    tasteAbout: "what the deep part makes of everything at once",
    together: "Together",
    togetherAbout: "0 would be a chance of 50%",
    isChance: (p) => `${p} chance`,
    fired: "What the memory says",
    rest: "everything else it remembers",
    similar: (aim) => `{items} you ${AIM.en(aim).gave} that the deep part finds most like this one`,
    did: (name, aim) => AIM.en(aim).did(name),
    didNot: (name, aim) => AIM.en(aim).didNot(name),
    rare: "a rarely chosen {item}",
    and: (texts) => texts.map((text, i) => (i ? text[0].toLowerCase() + text.slice(1) : text).replace(/\.$/, "")).join(", and ") + ".",
    sentences: {
      item: () => "The model remembers this {item} itself.",
      newItem: () => "The model hardly knows this {item} yet.",
      nothingYet: (aim) => (aim.deed ? "You have done nothing here yet." : "You have rated nothing yet."),
      nothingOfItem: () => "Nothing is known of this {item} yet.",
      expected_logit: (level, aim) => `By this {item}'s record and yours, ${AIM.en(aim).noun} is ${["less likely than", "about as likely as", "more likely than"][level]} usual.`,
      mean_plus_residual: (level, aim) => `By its average and your habit, ${AIM.en(aim).noun} is ${["rarer than", "about as common as", "more common than"][level]} usual.`,
      user_count: (n, aim) => `You have given ${n} ${aim.deed ? "answer" : "rating"}${n === 1 ? "" : "s"} so far.`,
      user_fast: (level, aim) => `Lately you ${AIM.en(aim).gave} ${["less often than", "about as often as", "more often than"][level]} others did for the same {items}.`,
      item_short_mean: (level, aim) => `Lately this {item} ${AIM.en(aim).got} ${["less often than", "about as often as", "more often than"][level]} usual.`,
      number: (side, name, level) => `${OWNER[side]} ${name} is ${["low", "in the middle", "high"][level]}.`,
      age: (side, name, level) => `${OWNER[side]} ${name} is ${["recent", "neither recent nor long ago", "long ago"][level]}.`,
      value: (side, name, value) => `${OWNER[side]} ${name} is ${value}.`,
      unknown: (side, name) => `${OWNER[side]} ${name} is not known.`,
      rare: (side, name) => `${OWNER[side]} ${name} is a rare one.`,
      hour: (hour) => `It is between ${hour}:00 and ${hour}:59.`,
      weekday: (day) => `It is ${day}.`,
      month: (month) => `It is ${month}.`,
    },
    modelTitle: "Which model answers",
    modelChip: (name, version) => `${name}, version ${version}`,
    modelNow: (name, version, since) => `${name}, version ${version}, has answered here since ${since}.`,
    moved: ({ action, by, by_hand: byHand }) => {
      const name = by ? ` by ${by}` : "";
      if (action === "rollback") return `Rolled back${name}`;
      if (action === OUTSIDE) return "Moved outside widedeep";
      return byHand ? `Moved by hand${name}` : "Promoted by the gate";
    },
    historyTitle: "Decisions so far",
    decision: ({ version, action, by_hand: byHand }) =>
      action === "rollback"
        ? `Rolled back to version ${version}`
        : `Version ${version}: ${ACTIONS.en[action] || action}${byHand && action === "promote" ? " by hand" : ""}`,
    refused: (version) => `Version ${version} was refused`,
    recorded: "Recorded reason",
    hello: (user, n) => `You are user ${user}, with ${n === 1 ? "1 answer" : `${n} answers`}.`,
    ratedAnnouncement: (name, n, fresh) => `${name}: ${n}. ${fresh ? `${films(fresh)} new in your list.` : "Your list is in a new order."}`,
    swapped: (version) => `Version ${version} answers now; your list was refreshed.`,
    errors: (type, message) => ({
      offline: "The server does not answer. This page tries again by itself.",
      loading: "The model is being loaded. This page continues by itself.",
      no_champion: "No model is in service yet. Train one with widedeep retrain, or let a trained one serve with widedeep promote. This page continues by itself.",
      refused: "The trained model could not be put into service. The server's log says why.",
      invalid: `The server cannot accept that: ${message}`,
      not_found: "There is no such {item}.",
      too_many_requests: "That was too many requests at once. Please wait a moment.",
      timeout: "The answer took too long. Please try again.",
      storage: "Your answer could not be saved. Please try again later.",
      internal: "The server failed. Its log says why.",
    })[type] || `That did not work: ${message}`,
  },
  ko: {
    skip: "추천 목록으로 건너뛰기",
    languages: "언어",
    who: "누구신가요?",
    userLabel: "사용자 아이디",
    go: "이 사용자로",
    newUser: "새 사용자로 시작",
    searchTitle: "아는 {item} 찾아보기",
    searchHint: "제목이나 아이디, 초성도 됩니다",
    matchCount: (n) => (n ? `${n}개를 찾았습니다` : "찾지 못했습니다"),
    ratedTitle: "내 평가",
    ratedNone: "아직 없습니다. 평가할 때마다 목록이 바로 바뀝니다.",
    ratedMore: (n) => `${n}개 더 보기`,
    listTitle: "당신을 위한 추천",
    listNote: (aim) => `백분율은 ${AIM.ko(aim).you} 확률을 모델이 예측한 값입니다. 높은 것부터 보여 드립니다.`,
    listSoFar: (aim, hits, n) => `지금까지 ${aim.deed ? "답" : "평점"} ${n}개 가운데 ${AIM.ko(aim).noun}은(는) ${hits}개이고, 백분율에 반영되어 있습니다.`,
    listEmpty: "더 추천할 것이 없습니다.",
    audience: "관람 대상",
    everyone: "성인",
    age15: "15세 이상",
    age12: "12세 이상",
    age0: "모두",
    chance: (aim) => `${AIM.ko(aim).noun} 확률`,
    whatCounts: (aim, share) => `모델은 ${AIM.ko(aim).whether}를 예측합니다${share ? `. ${AIM.ko(aim).share(share)}` : ""}.`,
    seenIt: (aim) => (aim.deed ? "내 답" : `내 평점 (기준: ${AIM.ko(aim).noun})`),
    give: "평가",
    value: "평점",
    yes: ({ deed }) => `${deed.ko}함`,
    no: ({ deed }) => `${deed.ko} 안 함`,
    saidYes: ({ deed }) => `${deed.ko}했습니다`,
    saidNo: ({ deed }) => `${deed.ko}하지 않았습니다`,
    aboutYou: "나와 지금 상황",
    notSaid: "말하지 않음",
    myRating: (n, most) => `${most === null ? "" : `${most}점 만점에 `}${n}점을 줌`,
    liked: "좋았음",
    between: "중간",
    disliked: "별로",
    rateItem: (name) => `${name} 평점`,
    outOf: (n, most) => `${most}점 만점에 ${n}점`,
    fresh: "새로 옴",
    risen: (n) => `${n}단계 위로`,
    why: "추천한 이유",
    whyItem: (name) => `${name} 추천 이유`,
    sum: "확률이 나온 과정",
    start: "기대",
    startAbout: "보통의 비율과 이 {item}, 당신의 지금까지 기록",
    memory: "기억",
    memoryAbout: "와이드 부분이 기억하는 조합",
    taste: "취향",
    tasteAbout: "딥 부분이 모든 것을 함께 본 결과",
    together: "합계",
    togetherAbout: "0이면 확률 50%",
    isChance: (p) => `확률 ${p}`,
    fired: "기억이 말하는 것",
    rest: "기억하는 나머지 모두",
    similar: (aim) => `${AIM.ko(aim).gave} {item} 가운데 딥 부분이 이것과 가장 비슷하다고 본 것`,
    did: (name, aim) => AIM.ko(aim).did(name),
    didNot: (name, aim) => AIM.ko(aim).didNot(name),
    rare: "드물게 선택되는 {item}",
    and: (texts) => texts.join(" 그리고 "),
    sentences: {
      item: () => "모델이 이 {item} 자체를 기억합니다.",
      newItem: () => "모델이 이 {item}을(를) 아직 거의 모릅니다.",
      nothingYet: (aim) => (aim.deed ? "아직 기록이 없습니다." : "아직 아무것도 평가하지 않았습니다."),
      nothingOfItem: () => "이 {item}의 기록이 아직 없습니다.",
      expected_logit: (level, aim) => `이 {item}와(과) 당신의 지금까지 기록으로 보면 ${AIM.ko(aim).noun} 가능성이 ${["보통보다 낮습니다", "보통입니다", "보통보다 높습니다"][level]}.`,
      mean_plus_residual: (level, aim) => `이 {item}의 평균과 당신의 습관으로 보면 ${AIM.ko(aim).noun}이(가) ${["보통보다 드뭅니다", "보통만큼 나옵니다", "보통보다 잦습니다"][level]}.`,
      user_count: (n, aim) => `지금까지 ${aim.deed ? "답" : "평점"}을 ${n}개 남겼습니다.`,
      user_fast: (level, aim) => `최근에 같은 {item}에 대해 ${AIM.ko(aim).gave} 일이 ${["다른 사람들보다 적었습니다", "다른 사람들과 비슷했습니다", "다른 사람들보다 많았습니다"][level]}.`,
      item_short_mean: (level, aim) => `최근에 이 {item}이(가) ${AIM.ko(aim).got} 일이 ${["보통보다 적었습니다", "보통이었습니다", "보통보다 많았습니다"][level]}.`,
      number: (side, name, level) => `${SUBJECT[side]}${name}은(는) ${["낮은 편입니다", "중간입니다", "높은 편입니다"][level]}.`,
      age: (side, name, level) => `${SUBJECT[side]}${name}은(는) ${["최근입니다", "중간입니다", "오래되었습니다"][level]}.`,
      value: (side, name, value) => `${SUBJECT[side]}${name}은(는) ${value}입니다.`,
      unknown: (side, name) => `${SUBJECT[side]}${name}은(는) 알려져 있지 않습니다.`,
      rare: (side, name) => `${SUBJECT[side]}${name}은(는) 드문 값입니다.`,
      hour: (hour) => `지금은 ${hour}시대입니다.`,
      weekday: (day) => `지금은 ${day}입니다.`,
      month: (month) => `지금은 ${month}입니다.`,
    },
    modelTitle: "지금 답하는 모델",
    modelChip: (name, version) => `${name}, 버전 ${version}`,
    modelNow: (name, version, since) => `${name} 버전 ${version}, ${since}부터 이 서버에서 답하고 있습니다.`,
    moved: ({ action, by, by_hand: byHand }) => {
      const name = by ? `${by} 님이 ` : "";
      if (action === "rollback") return `${name}되돌림`;
      if (action === OUTSIDE) return "widedeep 밖에서 바뀜";
      return byHand ? `${name}직접 바꿈` : "자동 심사로 승격";
    },
    historyTitle: "지금까지의 결정",
    decision: ({ version, action, by_hand: byHand }) =>
      action === "rollback"
        ? `버전 ${version}: 이 버전으로 되돌림`
        : `버전 ${version}: ${ACTIONS.ko[action] || (action === OUTSIDE ? "widedeep 밖에서 바뀜" : action)}${byHand && action === "promote" ? " (직접)" : ""}`,
    refused: (version) => `버전 ${version}은(는) 거부되었습니다`,
    recorded: "기록된 이유 (영어)",
    hello: (user, n) => `사용자 ${user}, 평가 ${n}개.`,
    ratedAnnouncement: (name, n, fresh) => `${name}: ${n}. ${fresh ? `목록에 새로 ${fresh}개가 들어왔습니다.` : "목록의 순서가 바뀌었습니다."}`,
    swapped: (version) => `이제 버전 ${version}이(가) 답합니다. 목록을 새로 만들었습니다.`,
    errors: (type) => ({
      offline: "서버가 응답하지 않습니다. 이 화면이 저절로 다시 시도합니다.",
      loading: "모델을 불러오는 중입니다. 준비되면 이 화면이 저절로 이어집니다.",
      no_champion: "아직 서비스 중인 모델이 없습니다. widedeep retrain 으로 학습하거나 widedeep promote 로 학습된 모델을 승격하세요. 모델이 생기면 이 화면이 저절로 이어집니다.",
      refused: "학습된 모델을 서비스에 올리지 못했습니다. 원인은 서버 로그에 있습니다.",
      invalid: "서버가 받아들일 수 없는 내용입니다.",
      not_found: "그런 {item}이(가) 없습니다.",
      too_many_requests: "요청이 한꺼번에 너무 많았습니다. 잠시 기다려 주세요.",
      timeout: "응답이 너무 오래 걸렸습니다. 다시 시도해 주세요.",
      storage: "답을 저장하지 못했습니다. 나중에 다시 시도해 주세요.",
      internal: "서버에 문제가 생겼습니다. 원인은 서버 로그에 있습니다.",
    })[type] || "요청을 마치지 못했습니다.",
  },
};

const SOURCES = {
  popular: () => ["popular lately", "요즘 인기"],
  "co-liked": (en, ko) => [`${en.likedBy} by people like you`, `비슷한 사람들이 ${ko}함`],
  similar: (en, ko) => [`like what you ${en.liked}`, `${ko}한 것과 닮음`],
  nearest: () => ["near your taste", "취향과 가까움"],
  catalogue: () => ["from the catalogue", "목록에서"],
};

const inLanguage = (pair, language) => pair[language === "ko" ? 1 : 0];

/* Korean names of attributes that many data sets have and few name in Korean. */
const KOREAN = {
  age: "나이", gender: "성별", country: "나라", city: "도시", occupation: "직업", device: "기기", topic: "주제",
  category: "분류", genre: "장르", genres: "장르", tags: "태그", brand: "브랜드", price: "가격", length: "길이", year: "연도",
};

/* The name of a feature of the data for people. */
export const featureName = ({ name, english, korean }, language) =>
  inLanguage([english, korean === name ? KOREAN[name.toLowerCase()] || name : korean], language).replaceAll("_", " ");

export const sourceName = (name, language, aim) =>
  SOURCES[name] ? inLanguage(SOURCES[name](AIM.en(aim), AIM.ko(aim).liked), language) : name;
