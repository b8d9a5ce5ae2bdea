// Every word of the page, in both languages.

/* {item} and {items} stand for what the data call an item; app.js puts the words in. */
const films = (n) => (n === 1 ? "1 {item}" : `${n} {items}`);

const ACTIONS = {
  en: { promote: "promoted", rollback: "rolled back to", hold: "held back", insufficient_evidence: "not enough evidence" },
  ko: { promote: "승격", rollback: "되돌림", hold: "보류", insufficient_evidence: "근거 부족" },
};

const OUTSIDE = "moved outside widedeep";

/* What the model predicts: a value from `least` on, or a yes (no aim). */
const article = (n) => (/^(8|11|18)/.test(String(n)) ? "an" : "a");
const aimed = {
  en: (aim) => (aim ? (aim.best ? `${article(aim.least)}\u00a0${aim.least}` : `${aim.least} or more`) : "a yes"),
  ko: (aim) => (aim ? (aim.best ? `${aim.least}점` : `${aim.least}점 이상`) : "선택"),
};

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
    listNote: (aim) => `The percentage is the probability that ${aim ? `you give it ${aimed.en(aim)}` : "you choose it"}, as the model sees it. The most probable comes first.`,
    listEmpty: "Nothing is left to recommend here.",
    audience: "For",
    everyone: "adults",
    age15: "15 and over",
    age12: "12 and over",
    age0: "everybody",
    chance: (aim) => `chance of ${aimed.en(aim)}`,
    whatCounts: (aim, share, known) => `The model predicts ${aim ? aimed.en(aim) : "whether you choose it"}${known ? `; ${share} of the ${aim ? "ratings" : "answers"} are ${aim && !aim.best ? "that high" : aim ? "one" : "a yes"}` : ""}.`,
    seenIt: (aim) => (aim ? `Your rating; ${aimed.en(aim)} counts` : "What do you say?"),
    yes: "I choose it",
    no: "I do not",
    saidYes: "You chose it",
    saidNo: "You did not choose it",
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
    startAbout: "how this {item} and you have been going",
    memory: "Memory",
    memoryAbout: "combinations that the wide part remembers",
    taste: "Taste",
    tasteAbout: "what the deep part makes of everything at once",
    together: "Together",
    isChance: (p) => `${p} chance`,
    fired: "What the memory says",
    rest: "everything else it remembers",
    similar: (aim) => `{items} ${aim ? `you gave ${aimed.en(aim)}` : "you chose"} that the deep part finds most alike`,
    gaveEnough: (name, aim) => (aim ? `You gave ${name} ${aimed.en(aim)}` : `You chose ${name}`),
    gaveLess: (name, aim) => (aim ? `You gave ${name} less than ${aim.least}` : `You did not choose ${name}`),
    words: { "(rare)": "a rare one", missing: "not known" },
    levels: {
      amount: { low: "low", average: "about average", high: "high" },
      count: { low: "few", average: "some", high: "many" },
      age: { low: "new", average: "neither new nor old", high: "old" },
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
      `Version ${version}: ${ACTIONS.en[action] || action}${byHand && action === "promote" ? " by hand" : ""}`,
    refused: (version, reason) => `Version ${version} was refused: ${reason}`,
    hello: (user, n) => `You are user ${user}, with ${n} answers.`,
    ratedAnnouncement: (name, n, fresh) => `${name}: ${n}. ${fresh ? `${films(fresh)} new in your list.` : "Your list is in a new order."}`,
    swapped: (version) => `Version ${version} answers now; your list was refreshed.`,
    noChampion: "No model is in service yet. Train one with widedeep retrain, or let a trained one serve with widedeep promote. This page continues by itself.",
    loading: "The model is being loaded. This page continues by itself.",
    error: (message) => `That did not work: ${message}`,
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
    listNote: (aim) => `백분율은 ${aim ? `당신이 ${aimed.ko(aim)}을 줄` : "당신이 선택할"} 확률을 모델이 예측한 값입니다. 높은 것부터 보여 드립니다.`,
    listEmpty: "더 추천할 것이 없습니다.",
    audience: "관람 대상",
    everyone: "성인",
    age15: "15세 이상",
    age12: "12세 이상",
    age0: "모두",
    chance: (aim) => `${aimed.ko(aim)} 확률`,
    whatCounts: (aim, share, known) => `모델은 ${aim ? `${aimed.ko(aim)}을 줄지` : "선택할지"}를 예측합니다${known ? `. 전체 ${aim ? "평점" : "응답"}의 ${share}가 ${aimed.ko(aim)}입니다` : ""}.`,
    seenIt: (aim) => (aim ? `내 평점 (기준: ${aimed.ko(aim)})` : "어떠셨나요?"),
    yes: "선택",
    no: "선택 안 함",
    saidYes: "선택했습니다",
    saidNo: "선택하지 않았습니다",
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
    sum: "가능성이 나온 과정",
    start: "기대",
    startAbout: "이 {item}와(과) 당신이 지금까지 어땠는지",
    memory: "기억",
    memoryAbout: "와이드 부분이 기억하는 조합",
    taste: "취향",
    tasteAbout: "딥 부분이 모든 것을 함께 본 결과",
    together: "합계",
    isChance: (p) => `가능성 ${p}`,
    fired: "기억이 말하는 것",
    rest: "기억하는 나머지 모두",
    similar: (aim) => `${aim ? `${aimed.ko(aim)}을 준` : "선택한"} {item} 가운데 딥 부분이 가장 비슷하다고 본 것`,
    gaveEnough: (name, aim) => `${name}: ${aim ? `${aimed.ko(aim)}을 줌` : "선택함"}`,
    gaveLess: (name, aim) => `${name}: ${aim ? `${aim.least}점보다 낮게 줌` : "선택하지 않음"}`,
    words: { "(rare)": "드문 값", missing: "알 수 없음" },
    levels: {
      amount: { low: "낮음", average: "보통", high: "높음" },
      count: { low: "적음", average: "보통", high: "많음" },
      age: { low: "최근 것", average: "중간", high: "오래된 것" },
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
      `버전 ${version}: ${ACTIONS.ko[action] || (action === OUTSIDE ? "widedeep 밖에서 바뀜" : action)}${byHand && action === "promote" ? " (직접)" : ""}`,
    refused: (version, reason) => `버전 ${version}은(는) 거부되었습니다: ${reason}`,
    hello: (user, n) => `사용자 ${user}, 평가 ${n}개.`,
    ratedAnnouncement: (name, n, fresh) => `${name}: ${n}. ${fresh ? `목록에 새로 ${fresh}개가 들어왔습니다.` : "목록의 순서가 바뀌었습니다."}`,
    swapped: (version) => `이제 버전 ${version}이(가) 답합니다. 목록을 새로 만들었습니다.`,
    noChampion: "아직 서비스 중인 모델이 없습니다. widedeep retrain 으로 학습하거나 widedeep promote 로 학습된 모델을 승격하세요. 모델이 생기면 이 화면이 저절로 이어집니다.",
    loading: "모델을 불러오는 중입니다. 준비되면 이 화면이 저절로 이어집니다.",
    error: (message) => `요청을 마치지 못했습니다: ${message}`,
  },
};

/* Features of history; those of the data have the names that the server tells. */
const FEATURES = {
  item: ["this {item}", "이 {item}"],
  expected_logit: ["the chance that averages suggest", "평균으로 미루어 본 가능성"],
  mean_plus_residual: ["its average, with your habit", "평균에 내 습관을 더한 것"],
  user_count: ["your answers so far", "지금까지의 내 평가"],
  user_fast: ["your latest answers, beside those of others", "다른 사람과 견준 나의 최근 평가"],
  item_short_mean: ["how it did lately", "이 {item}의 요즘 평가"],
};

/* In which words the ranges of these numbers are said. */
export const LEVEL_WORDS = {
  expected_logit: "amount",
  mean_plus_residual: "amount",
  user_count: "count",
  user_fast: "amount",
  item_short_mean: "amount",
};

const SOURCES = {
  popular: ["popular lately", "요즘 인기"],
  "co-liked": ["liked by people like you", "취향이 같은 사람들이 좋아함"],
  similar: ["like what you liked", "좋아한 것과 닮음"],
  nearest: ["near your taste", "취향과 가까움"],
  catalogue: ["from the catalogue", "목록에서"],
};

const inLanguage = (pair, language) => pair[language === "ko" ? 1 : 0];

/* The name of a feature for people; null if it has none. */
export const featureName = (name, language, features) => {
  const own = features.find((feature) => feature.name === name);
  if (own) return language === "ko" ? own.korean : own.english;
  return FEATURES[name] ? inLanguage(FEATURES[name], language) : null;
};

export const sourceName = (name, language) => (SOURCES[name] ? inLanguage(SOURCES[name], language) : name);
