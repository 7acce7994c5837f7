"use strict";
// All model output is set by textContent; text is never turned into markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { run, items, teachers, statuses, questions, answers, choices, limits } = data;
  const sample = items[items.length - 1].sample;
  const OK = "ok";

  const at = (id) => document.getElementById(id);
  const page = new Proxy({}, { get: (_, id) => at(id) });

  // Decisions ----------------------------------------------------------------------------------
  // Each has its own key in the browser's storage, so that two tabs never overwrite each
  // other's decisions.

  const PREFIX = `imagenet-think-review/${run}/${sample}/`;
  const decisions = new Map();
  let keeps = true;
  let reviewer = "";

  const parsed = (item) => item.responses.every((response) => response.status === OK);
  const asked = (response) => Object.keys(questions).filter((key) => response.status === OK || questions[key].failed);
  const entries = { quality: [], blind: [] };
  items.forEach((item, place) => {
    item.responses.forEach((response, teacher) => {
      entries.quality.push({ id: `quality/${teachers[teacher].key}/${item.id}`, place, item, response, teacher });
    });
    if (parsed(item)) entries.blind.push({ id: `blind/${item.id}`, place, item });
  });
  const known = new Map([...entries.quality, ...entries.blind].map((entry) => [entry.id, entry]));

  function decided(entry) {
    const decision = decisions.get(entry.id);
    if (!decision) return false;
    return entry.response ? asked(entry.response).every((key) => decision[key]) : Boolean(decision.choice);
  }

  function stored(key) {
    try {
      return localStorage.getItem(PREFIX + key);
    } catch (error) {
      warn(error);
      return null;
    }
  }

  function store(key, value) {
    try {
      if (value === null) localStorage.removeItem(PREFIX + key);
      else localStorage.setItem(PREFIX + key, value);
    } catch (error) {
      warn(error);
    }
  }

  function warn(error) {
    if (!keeps) return;
    keeps = false;
    page.storage.hidden = false;
    page.storage.textContent = `This browser does not keep decisions (${error.name}): export them before you close the page.`;
  }

  function recall(id) {
    let decision = null;
    try {
      decision = JSON.parse(stored(id));
    } catch (error) {
      say(`A stored decision is damaged and was ignored (${id}: ${error.message}).`, true);
    }
    if (decision && !problem(known.get(id), decision)) decisions.set(id, decision);
    else decisions.delete(id);
  }

  function decide(entry, values) {
    const decision = { ...decisions.get(entry.id), ...values, at: new Date().toISOString() };
    for (const key of Object.keys(decision)) if (!decision[key]) delete decision[key];
    const empty = Object.keys(decision).length === 1;
    if (empty) decisions.delete(entry.id);
    else decisions.set(entry.id, decision);
    store(entry.id, empty ? null : JSON.stringify(decision));
    showDecision();
    showProgress();
  }

  // Display ----------------------------------------------------------------------------------

  let mode = "quality";
  let list = entries.quality;
  let place = 0;
  let question = 0;
  const here = () => list[place];

  function text(element, value) {
    const words = value ?? "";
    // Setting a live region announces it again, even if the text is the same.
    if (element.textContent !== words) element.textContent = words;
  }

  function show() {
    const entry = here();
    page.item.hidden = !entry;
    page.nothing.hidden = Boolean(entry);
    showProgress();
    if (!entry) return;
    const { item } = entry;
    const blind = mode === "blind";
    text(page.place, `${place + 1} of ${list.length}`);
    text(page.lemma, item.lemma || item.id);
    text(page.about, [item.domain, item.id].filter(Boolean).join(" · "));
    text(page.who, blind ? "" : teachers[entry.teacher].name);
    page.picture.width = item.width;
    page.picture.height = item.height;
    page.picture.src = picture(entry.place);
    page.picture.alt = `Image ${item.id}: ${item.lemma || "unnamed"}`;
    page.one.hidden = blind;
    page.two.hidden = !blind;
    page.quality.hidden = blind;
    page.blind.hidden = !blind;
    if (blind) {
      for (const [side, teacher] of [["left", item.left], ["right", 1 - item.left]]) {
        text(at(`${side}-think`), item.responses[teacher].think);
        text(at(`${side}-answer`), item.responses[teacher].answer);
      }
    } else {
      showResponse(entry.response);
    }
    question = 0;
    if (!blind) nextQuestion();
    showDecision();
    store("place", JSON.stringify({ mode, id: entry.id }));
    const next = list[place + 1];
    if (next) new Image().src = picture(next.place);
  }

  function picture(number) {
    return `data:image/jpeg;base64,${at(`picture-${number}`).textContent}`;
  }

  function showResponse(response) {
    const failed = response.status !== OK;
    page.failure.hidden = !failed;
    text(page.status, response.status);
    text(page.meaning, statuses[response.status]);
    page.parts.hidden = failed;
    text(page.think, response.think);
    text(page.answer, response.answer);
    page.raw.open = failed;
    text(page.text, response.text ?? (response.error ? `(no text) ${response.error}` : "(no text)"));
    for (const key of Object.keys(questions)) {
      const { ask, hint, failed: otherwise } = questions[key];
      const words = failed ? otherwise : { ask, hint };
      at(`row-${key}`).hidden = !words;
      if (words) {
        text(at(`ask-${key}`), words.ask);
        text(at(`hint-${key}`), words.hint);
      }
    }
  }

  function showDecision() {
    const entry = here();
    const decision = decisions.get(entry.id) ?? {};
    if (mode === "quality") {
      const open = asked(entry.response);
      text(page.hint, at(`hint-${open[question]}`).textContent);
      for (const key of Object.keys(questions)) {
        at(`row-${key}`).toggleAttribute("data-current", key === open[question]);
        for (const answer of answers) {
          at(`${key}-${answer}`).setAttribute("aria-pressed", String(decision[key] === answer));
        }
      }
    } else {
      for (const choice of Object.keys(choices)) {
        at(`choice-${choice}`).setAttribute("aria-pressed", String(decision.choice === choice));
      }
    }
    if (page.notes.value !== (decision.notes ?? "")) page.notes.value = decision.notes ?? "";
    text(page.done, decided(entry) ? "Decided" : "");
  }

  function showProgress() {
    const all = entries[mode];
    const count = all.reduce((sum, entry) => sum + decided(entry), 0);
    page.bar.max = all.length || 1;
    page.bar.value = count;
    const shown = list.length === all.length ? "" : `, ${list.length.toLocaleString("en")} shown`;
    text(page.progress, `${count.toLocaleString("en")} of ${all.length.toLocaleString("en")} decided${shown}`);
  }

  function say(words, wrong = false) {
    text(page.message, words);
    page.message.hidden = !words;
    page.message.toggleAttribute("data-wrong", wrong);
  }

  // Moving ---------------------------------------------------------------------------------------

  function go(to) {
    if (to < 0 || to >= list.length) return;
    place = to;
    say("");
    show();
    scrollTo({ top: 0 });
  }

  function undecided() {
    for (let step = 1; step <= list.length; step += 1) {
      const to = (place + step) % list.length;
      if (!decided(list[to])) return go(to);
    }
    return say("Everything shown is decided.");
  }

  function matches(entry) {
    const { item } = entry;
    const response = entry.response;
    const domain = page.domain.value;
    const status = page["filter-status"].value;
    const teacher = page.teacher.value;
    const state = page.state.value;
    const words = page.search.value.trim().toLowerCase();
    if (domain && item.domain !== domain) return false;
    if (response && status && response.status !== status) return false;
    if (response && teacher && teachers[entry.teacher].key !== teacher) return false;
    if (state && decided(entry) !== (state === "decided")) return false;
    if (!words) return true;
    const texts = (response ? [response] : item.responses).flatMap((one) => (entry.response ? [one.think, one.answer, one.text] : [one.think, one.answer]));
    return [item.id, item.lemma, ...texts].some((one) => one?.toLowerCase().includes(words));
  }

  /** List the items that pass the filters; stay at the current one, or at its image. */
  function filter(wanted = here()) {
    list = entries[mode].filter(matches);
    const same = (test) => list.findIndex(test);
    place = same((entry) => entry.id === wanted?.id);
    if (place < 0) place = same((entry) => entry.place === wanted?.place);
    if (place < 0) place = 0;
    show();
  }

  function turn(to, wanted) {
    const from = here();
    mode = to;
    for (const name of ["quality", "blind"]) at(`mode-${name}`).setAttribute("aria-pressed", String(name === mode));
    for (const element of document.querySelectorAll("[data-quality-only]")) element.hidden = mode === "blind";
    document.body.dataset.mode = mode;
    filter(wanted ?? from);
  }

  // Deciding ---------------------------------------------------------------------------------------

  function answer(key, value) {
    const entry = here();
    if (!entry) return;
    const cleared = decisions.get(entry.id)?.[key] === value;
    question = asked(entry.response).indexOf(key);
    decide(entry, { [key]: cleared ? "" : value });
    if (!cleared) nextQuestion();
    showDecision();
  }

  /** Move to the next question without an answer, starting with the current one. */
  function nextQuestion() {
    const open = asked(here().response);
    const decision = decisions.get(here().id) ?? {};
    for (let step = 0; step < open.length; step += 1) {
      const to = (question + step) % open.length;
      if (!decision[open[to]]) {
        question = to;
        return;
      }
    }
  }

  function choose(choice) {
    const entry = here();
    if (!entry) return;
    decide(entry, { choice: decisions.get(entry.id)?.choice === choice ? "" : choice });
  }

  // Files --------------------------------------------------------------------------------------------

  function exported() {
    const found = { quality: [], blind: [] };
    for (const name of ["quality", "blind"]) {
      for (const entry of entries[name]) {
        const decision = decisions.get(entry.id);
        if (!decision) continue;
        const subject = entry.response ? { image: entry.item.id, teacher: teachers[entry.teacher].key } : { image: entry.item.id };
        found[name].push({ ...subject, ...decision });
      }
    }
    return {
      format: data.format,
      version: data.version,
      run,
      sample,
      images: items.length,
      reviewer,
      exported: new Date().toISOString(),
      decisions: found,
    };
  }

  function save() {
    const name = page.name.value.trim();
    page.unnamed.hidden = Boolean(name);
    if (!name) {
      page.name.setAttribute("aria-invalid", "true");
      return page.name.focus();
    }
    page.name.removeAttribute("aria-invalid");
    reviewer = name;
    store("reviewer", name);
    const link = document.createElement("a");
    const url = URL.createObjectURL(new Blob([JSON.stringify(exported(), null, 1)], { type: "application/json" }));
    link.href = url;
    link.download = `review-${run}-${name.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40) || "reviewer"}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    page["name-dialog"].close();
    return say(`Exported ${decisions.size.toLocaleString("en")} decisions to ${link.download}.`);
  }

  const plain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$/;

  /** Return what is wrong with a decision, or "". */
  function problem(entry, decision) {
    if (!entry) return "is about an item that is not on this page";
    if (!plain(decision)) return "is not a decision";
    if (typeof decision.at !== "string" || !TIME.test(decision.at) || Number.isNaN(Date.parse(decision.at))) return "has no valid time";
    if (decision.notes !== undefined && (typeof decision.notes !== "string" || decision.notes.length > limits.notes)) return "has notes that are too long or not text";
    const allowed = entry.response ? asked(entry.response) : ["choice"];
    const values = entry.response ? answers : Object.keys(choices);
    for (const key of Object.keys(decision)) {
      if (key === "at" || key === "notes") continue;
      if (!allowed.includes(key)) return `answers ${key}, which is not asked here`;
      if (!values.includes(decision[key])) return `answers ${JSON.stringify(decision[key])?.slice(0, 80)}; allowed is ${values.join(", ")}`;
    }
    return "";
  }

  /** Return the decisions in a file by id, or throw an Error that says what is wrong. */
  function read(words) {
    let file;
    try {
      file = JSON.parse(words);
    } catch (error) {
      throw new Error(`it is damaged or not JSON (${error.message})`);
    }
    if (!plain(file) || file.format !== data.format) throw new Error("it is not an export of a review page");
    if (file.version !== data.version) throw new Error(`it has version ${JSON.stringify(file.version)?.slice(0, 20)} of the format, this page reads ${data.version}`);
    if (file.run !== run) throw new Error(`it belongs to run ${JSON.stringify(file.run)?.slice(0, 80)}, this page shows ${JSON.stringify(run)}`);
    // The digests are a chain, so a larger sample has the digests of smaller ones.
    if (!Number.isInteger(file.images) || items[file.images - 1]?.sample !== file.sample) throw new Error("it belongs to a different sample of this run (other responses, or more images)");
    if (typeof file.reviewer !== "string" || !file.reviewer.trim() || file.reviewer.length > limits.name) throw new Error("it names no reviewer");
    if (reviewer && file.reviewer.trim() !== reviewer) throw new Error(`it has the decisions of ${file.reviewer.trim()}, this page those of ${reviewer}: there is no need to merge them, results are counted from several files`);
    const found = new Map();
    for (const name of ["quality", "blind"]) {
      if (!plain(file.decisions) || !Array.isArray(file.decisions[name])) throw new Error(`it lacks decisions.${name}`);
      file.decisions[name].forEach((each, number) => {
        const { image, teacher, ...decision } = plain(each) ? each : {};
        const id = name === "blind" ? `blind/${image}` : `quality/${teacher}/${image}`;
        const wrong = problem(known.get(id), decision);
        if (wrong) throw new Error(`decisions.${name}[${number}] (${String(image).slice(0, 80)}) ${wrong}`);
        if (!found.has(id) || found.get(id).at <= decision.at) found.set(id, decision);
      });
    }
    return { name: file.reviewer.trim(), found };
  }

  async function load() {
    const [file] = page.file.files;
    if (!file) return;
    try {
      const { name, found } = read(await file.text());
      let kept = 0;
      for (const [id, decision] of found) {
        const own = decisions.get(id);
        if (own && Date.parse(own.at) > Date.parse(decision.at)) {
          kept += 1;
        } else {
          decisions.set(id, decision);
          store(id, JSON.stringify(decision));
        }
      }
      reviewer = name;
      store("reviewer", name);
      filter();
      say(`Imported ${(found.size - kept).toLocaleString("en")} decisions of ${name}${kept ? `; ${kept.toLocaleString("en")} newer ones on this page were kept` : ""}.`);
    } catch (error) {
      say(`Nothing was imported from ${file.name}: ${error.message}.`, true);
    }
    page.file.value = "";
  }

  // Controls -----------------------------------------------------------------------------------------

  function askName() {
    page.name.value = reviewer;
    page.unnamed.hidden = true;
    page["name-dialog"].showModal();
    page.name.focus();
  }

  function toggleFilters() {
    page.filters.hidden = !page.filters.hidden;
    page["filters-button"].setAttribute("aria-expanded", String(!page.filters.hidden));
    if (!page.filters.hidden) page.domain.focus();
  }

  function answerCurrent(key) {
    if (here()) answer(asked(here().response)[question], answers.find((value) => value[0] === key));
  }

  function toQuestion(number) {
    if (!here() || number >= asked(here().response).length) return;
    question = number;
    showDecision();
  }

  const sides = Object.keys(choices);
  // Keys, how the help shows them, what they do, and in which mode.
  const KEYS = [
    [["ArrowRight", "j"], "→ j", "Next", () => go(place + 1)],
    [["ArrowLeft", "k"], "← k", "Previous", () => go(place - 1)],
    [["g"], "g", "Next undecided", undecided],
    [answers.map((value) => value[0]), answers.map((value) => value[0]).join(" "), `Answer ${answers.join(", ")}`, answerCurrent, "quality"],
    [["1", "2", "3", "4"], "1 – 4", "Go to a question", (key) => toQuestion(Number(key) - 1), "quality"],
    [["r"], "r", "Raw text", () => { page.raw.open = !page.raw.open; }, "quality"],
    ...sides.map((side, number) => [[String(number + 1)], String(number + 1), choices[side], () => choose(side), "blind"]),
    [["t"], "t", "Write notes (Esc to leave)", () => page.notes.focus()],
    [["m"], "m", "Other mode", () => turn(mode === "blind" ? "quality" : "blind")],
    [["f"], "f", "Filters", toggleFilters],
    [["/"], "/", "Search", () => { page.filters.hidden = true; toggleFilters(); page.search.focus(); }],
    [["e"], "e", "Export", askName],
    [["i"], "i", "Import", () => page.file.click()],
    [["?"], "?", "This help", () => page["help-dialog"].showModal()],
  ];

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    // A field of a dialog that was just closed keeps the focus until the page is repainted.
    if (event.target.matches("input, textarea, select") && event.target.checkVisibility()) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const found = KEYS.find(([keys, , , , only]) => keys.includes(name) && (!only || only === mode));
    if (!found) return;
    event.preventDefault();
    found[3](name);
  }

  function listKeys() {
    for (const [, shown, what, , only] of KEYS) {
      const row = document.createElement("tr");
      const key = document.createElement("th");
      const words = document.createElement("td");
      key.scope = "row";
      for (const one of shown === "1 – 4" ? [shown] : shown.split(" ")) {
        const cap = document.createElement("kbd");
        text(cap, one);
        key.append(cap, " ");
      }
      text(words, only === "blind" ? `${what} (blind comparison)` : only ? `${what} (quality)` : what);
      row.append(key, words);
      page.keys.append(row);
    }
  }

  function options(select, values) {
    for (const [value, words] of values) {
      const option = document.createElement("option");
      option.value = value;
      text(option, words);
      select.append(option);
    }
    select.addEventListener("change", () => filter());
  }

  function start() {
    listKeys();
    options(page.domain, [...new Set(items.map((item) => item.domain))].filter(Boolean).sort().map((one) => [one, one]));
    const ended = new Set(entries.quality.map((entry) => entry.response.status));
    options(page["filter-status"], Object.keys(statuses).filter((one) => ended.has(one)).map((one) => [one, one]));
    options(page.teacher, teachers.map(({ key, name }) => [key, name]));
    options(page.state, [["undecided", "undecided"], ["decided", "decided"]]);
    let waiting = 0;
    page.search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(filter, 150);
    });
    for (const key of Object.keys(questions)) {
      for (const value of answers) at(`${key}-${value}`).addEventListener("click", () => answer(key, value));
    }
    for (const side of sides) at(`choice-${side}`).addEventListener("click", () => choose(side));
    for (const name of ["quality", "blind"]) at(`mode-${name}`).addEventListener("click", () => turn(name));
    page.notes.addEventListener("input", () => here() && decide(here(), { notes: page.notes.value }));
    page.previous.addEventListener("click", () => go(place - 1));
    page.next.addEventListener("click", () => go(place + 1));
    page.undecided.addEventListener("click", undecided);
    page["filters-button"].addEventListener("click", toggleFilters);
    page["export-button"].addEventListener("click", askName);
    page["import-button"].addEventListener("click", () => page.file.click());
    page["help-button"].addEventListener("click", () => page["help-dialog"].showModal());
    page.file.addEventListener("change", load);
    page.save.addEventListener("click", save);
    page.name.addEventListener("keydown", (event) => event.key === "Enter" && save());
    for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
    document.addEventListener("keydown", press);
    addEventListener("storage", (event) => {
      if (!event.key?.startsWith(PREFIX)) return;
      const id = event.key.slice(PREFIX.length);
      if (!known.has(id)) return;
      recall(id);
      if (here()) showDecision();
      showProgress();
    });
    reviewer = stored("reviewer") ?? "";
    for (const id of known.keys()) if (stored(id) !== null) recall(id);
    let last = {};
    try {
      last = JSON.parse(stored("place")) ?? {};
    } catch (error) {
      say(`Your last position is unknown (${error.message}).`);
    }
    turn(last.mode === "blind" ? "blind" : "quality", known.get(last.id));
    performance.mark("ready");
  }

  start();
})();
