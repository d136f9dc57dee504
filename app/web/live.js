// The live page: what the feed says, kept as state, drawn when it changed.

import { KeyNeeded, eraseCall, followEvents, getAll, getJson, setKey } from "./api.js";
import { account, callItem, clock, speakingCard, strip, timeOfDay, utteranceCard } from "./view.js";

const MOST_CALLS = 100;
const MOST_RECORDS = 1000;
const BEADED_CALLS = 12;
// call_id -> { info, records: Map(utterance_id -> record or timeline point), speaking: Map(leg -> event), ... }
const calls = new Map();
let selected = null;
let followNewest = true; // until the reader picks a call that has ended
let nextPage = null;
let drawing = false;

const at = (id) => document.getElementById(id);
const isRecord = (point) => "audio_quality" in point;
const pointsOf = (call) => [...call.records.values()].sort((a, b) => a.end_s - b.end_s);

// ---- state ----

function entry(info) {
  const known = calls.get(info.call_id);
  if (known) {
    known.info = info;
    return known;
  }
  const made = { info, records: new Map(), speaking: new Map(), summary: null, end_s: 0, loaded: false };
  calls.set(info.call_id, made);
  return made;
}

function add(call, points) {
  for (const point of points) {
    if (isRecord(point) || !call.records.has(point.utterance_id)) call.records.set(point.utterance_id, point);
    call.end_s = Math.max(call.end_s, point.end_s);
  }
}

function addSummary(call, summary) {
  call.summary = summary;
  if (summary) call.end_s = Math.max(call.end_s, summary.duration_s || 0);
}

const pathOf = (call) => `/v1/calls/${encodeURIComponent(call.info.call_id)}`;

// What the list shows of a call: the timeline, which is small.
async function loadPoints(call) {
  if (call.loaded) return;
  const { timeline, summary, metadata, ...info } = await getJson(pathOf(call));
  call.info = info;
  add(call, timeline);
  addSummary(call, summary);
}

// What the selected call shows: the full records.
async function loadRecords(call) {
  if (call.loaded) return;
  call.loaded = true;
  try {
    add(call, await getAll(`${pathOf(call)}/utterances?limit=200`, MOST_RECORDS));
    if (call.info.state !== "active") addSummary(call, (await getJson(pathOf(call))).summary);
  } catch (error) {
    call.loaded = false;
    throw error;
  }
}

function select(callId) {
  selected = callId;
  const call = calls.get(callId);
  if (call) loadRecords(call).then(draw, () => {});
  draw();
}

async function loadCalls() {
  const page = await getJson("/v1/calls?limit=50");
  for (const info of page.items) entry(info).loaded = false;
  nextPage = page.next;
  const newest = page.items.find((info) => info.state === "active") || page.items[0];
  if (calls.has(selected)) select(selected);
  else if (newest) select(newest.call_id);
  await Promise.all(page.items.slice(0, BEADED_CALLS).map((info) => loadPoints(calls.get(info.call_id))));
}

const handlers = {
  call_started(body) {
    entry(body).loaded = true;
    const current = calls.get(selected);
    if (followNewest && current?.info.state !== "active") select(body.call_id);
  },
  call_continued(body) {
    entry(body).loaded = false;
    loadPoints(calls.get(body.call_id)).then(draw, () => {});
  },
  speech_start(body) {
    calls.get(body.call_id)?.speaking.set(body.leg, body);
  },
  interim(body) {
    calls.get(body.call_id)?.speaking.set(body.leg, body);
  },
  utterance(body) {
    const call = calls.get(body.call_id);
    if (!call) return;
    if (!call.records.has(body.utterance_id)) call.info.utterances += 1;
    add(call, [body]);
    call.speaking.delete(body.leg);
  },
  call_ended({ summary, ...info }) {
    const call = entry(info);
    call.speaking.clear();
    addSummary(call, summary);
  },
  call_erased(body) {
    calls.delete(body.call_id);
    if (selected === body.call_id) selected = null;
  },
  // Something was missed: what the lists show is read again.
  lagged() {
    loadCalls().then(draw, () => {});
  },
  gap() {
    handlers.lagged();
  },
  reset() {
    handlers.lagged();
  },
};

// ---- drawing: at most once a frame ----

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawList();
    drawCall();
  });
}

function drawList() {
  const all = [...calls.values()].sort((a, b) => (a.info.started_at < b.info.started_at ? 1 : -1));
  const live = all.filter((call) => call.info.state === "active");
  const ended = all.filter((call) => call.info.state !== "active");
  const item = (call) => callItem(call, pointsOf(call), call.info.call_id === selected, () => pick(call));
  const focused = document.activeElement?.closest(".call-item")?.querySelector(".id")?.textContent;
  at("calls-live").replaceChildren(...live.map(item));
  at("calls-ended").replaceChildren(...ended.map(item));
  if (focused) {
    const again = [...document.querySelectorAll(".call-item")].find(
      (button) => button.querySelector(".id").textContent === focused,
    );
    again?.focus();
  }
  at("count-live").textContent = live.length;
  at("count-ended").textContent = ended.length + (nextPage ? "+" : "");
  at("count-utterances").textContent = all.reduce((sum, call) => sum + call.info.utterances, 0);
  at("more").hidden = !nextPage || all.length >= MOST_CALLS;
}

function pick(call) {
  followNewest = call.info.state === "active";
  select(call.info.call_id);
}

function drawCall() {
  const call = calls.get(selected);
  at("welcome").hidden = Boolean(call);
  at("call").hidden = !call;
  if (!call) return;
  const { info } = call;
  at("call-title").textContent = info.call_id;
  const state = info.state === "active" ? "in progress" : (info.outcome || "ended").replaceAll("_", " ");
  const facts = [`line ${info.line}`, info.legs.join(" and "), `started ${timeOfDay(info.started_at)}`, state];
  if (call.end_s) facts.push(`${clock(call.end_s)} long`);
  if (info.dropped) facts.push(`${info.dropped} earliest records no longer held`);
  at("call-facts").textContent = facts.join(" · ");
  at("erase").hidden = info.state === "active";
  const now = Math.max(call.end_s, ...[...call.speaking.values()].map((event) => (event.end_s || event.start_s) + 1));
  const width = Math.max(280, at("strip").clientWidth);
  at("strip").replaceChildren(strip(info.legs, pointsOf(call), call.speaking, now, width));
  at("account").hidden = !call.summary;
  if (call.summary) at("account").replaceChildren(account(call.summary));
  drawUtterances(call);
}

// Newest first. Cards that are already there stay, so that nothing flickers and a screen reader hears only news.
function drawUtterances(call) {
  const list = at("utterances");
  if (list.dataset.call !== call.info.call_id) {
    list.replaceChildren();
    list.dataset.call = call.info.call_id;
  }
  for (const card of list.querySelectorAll(".interim")) card.remove();
  const drawn = new Set([...list.children].map((card) => card.dataset.id));
  for (const record of pointsOf(call)) {
    if (!isRecord(record) || drawn.has(record.utterance_id)) continue;
    const card = utteranceCard(record);
    card.dataset.id = record.utterance_id;
    card.dataset.end = record.end_s;
    const after = [...list.children].find((other) => Number(other.dataset.end) <= record.end_s);
    list.insertBefore(card, after || null);
  }
  for (const event of call.speaking.values()) {
    list.prepend(event.scores || event.reason ? utteranceCard(event, { interim: true }) : speakingCard(event));
  }
}

// ---- the feed, again and again ----

function feedState(state, text) {
  at("feed").dataset.state = state;
  at("feed").textContent = text;
}

async function run() {
  let wait_ms = 500;
  for (;;) {
    try {
      const models = await getJson("/v1/models");
      const model = models.items[0];
      at("model").textContent = `${model.bundle} ${model.version} · ${model.variant} on ${model.provider}`;
      await followEvents(
        () => {
          feedState("live", "live");
          wait_ms = 500;
          loadCalls().then(draw, () => {});
        },
        (type, body) => {
          handlers[type]?.(body);
          draw();
        },
      );
      feedState("lost", "reconnecting");
    } catch (error) {
      if (error instanceof KeyNeeded) {
        await askForKey();
        continue;
      }
      feedState("lost", "reconnecting");
    }
    await new Promise((resolve) => setTimeout(resolve, wait_ms));
    wait_ms = Math.min(10_000, wait_ms * 2);
  }
}

let asked = false;

function askForKey() {
  feedState("lost", "key needed");
  at("key-error").hidden = !asked;
  asked = true;
  const dialog = at("key-dialog");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("cancel", (event) => event.preventDefault(), { once: true });
    at("key-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        setKey(at("key").value.trim());
        at("key").value = "";
        dialog.close();
        resolve();
      },
      { once: true },
    );
  });
}

function prepare() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  at("url").textContent = `${scheme}://${location.host}/v1/stream`;
  at("erase").addEventListener("click", () => at("erase-dialog").showModal());
  at("erase-no").addEventListener("click", () => at("erase-dialog").close());
  at("erase-yes").addEventListener("click", async () => {
    at("erase-dialog").close();
    if (selected) await eraseCall(selected);
  });
  at("more").addEventListener("click", async () => {
    const page = await getJson(`/v1/calls?limit=50&cursor=${encodeURIComponent(nextPage)}`);
    for (const info of page.items) entry(info);
    nextPage = page.next;
    draw();
  });
}

prepare();
new ResizeObserver(draw).observe(at("strip"));
run();
