// Turns records into elements. Text goes in as text, never as markup; colours and widths through the CSSOM.

const COLOURS = {
  neutral: "#8b93a7",
  calm: "#5aa9a3",
  happiness: "#e0a526",
  happy: "#e0a526",
  joy: "#e0a526",
  surprise: "#d9772b",
  sadness: "#4a7fd6",
  sad: "#4a7fd6",
  anger: "#d6453d",
  angry: "#d6453d",
  frustration: "#c2587f",
  fear: "#8b5bd0",
  fearful: "#8b5bd0",
  disgust: "#5f9143",
};

const REASONS = {
  too_short: "too short",
  too_noisy: "too noisy",
  uncertain: "uncertain",
  not_speech: "not speech",
  policy: "not scored",
};

export function colourOf(category) {
  if (category in COLOURS) return COLOURS[category];
  let hash = 0;
  for (const letter of category) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return `hsl(${hash} 55% 52%)`;
}

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function clock(seconds) {
  const whole = Math.max(0, seconds);
  const minutes = Math.floor(whole / 60);
  const rest = (whole - minutes * 60).toFixed(1).padStart(4, "0");
  return `${minutes}:${rest}`;
}

const percent = (value) => `${Math.round(value * 100)} %`;
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2);

// ---- one utterance ----

export function utteranceCard(record, { interim = false } = {}) {
  const card = element("li", "utt");
  card.classList.add(record.leg);
  card.append(meta(record, interim));
  if (interim) card.classList.add("interim");
  if (record.abstained) card.classList.add("abstained");
  if (record.emotion) card.style.setProperty("--c", colourOf(record.emotion));
  card.append(name(record, interim));
  if (record.scores) card.append(bars(record.scores), dimensions(record));
  else card.classList.add("brief");
  return card;
}

export function speakingCard(event) {
  const card = element("li", "utt interim brief");
  card.classList.add(event.leg);
  const line = element("div", "meta");
  line.append(element("span", "leg", event.leg), element("span", "", `from ${clock(event.start_s)}`));
  card.append(line, element("div", "name", "speaking"));
  return card;
}

function meta(record, interim) {
  const line = element("div", "meta");
  const seconds = (record.end_s - record.start_s).toFixed(1);
  line.append(
    element("span", "leg", record.leg),
    element("span", "", `${clock(record.start_s)} – ${clock(record.end_s)}`),
    element("span", "", `${seconds} s`),
  );
  const quality = record.audio_quality;
  if (quality.snr_db !== null) line.append(element("span", "push", `SNR ${Math.round(quality.snr_db)} dB`));
  else line.append(element("span", "push", "SNR unknown"));
  if (quality.clipped > 0.001) line.append(element("span", "", `clipped ${percent(quality.clipped)}`));
  if (quality.packet_loss > 0.001) line.append(element("span", "", `lost ${percent(quality.packet_loss)}`));
  if (record.latency_ms !== null && record.scores && !interim) {
    line.append(element("span", "", `scored in ${Math.round(record.latency_ms)} ms`));
  }
  return line;
}

function name(record, interim) {
  const box = element("div", "name");
  if (record.abstained) {
    box.append(element("span", "", record.reason === "policy" ? "Not scored " : "No emotion named "));
    if (record.reason !== "policy") box.append(element("span", "reason", REASONS[record.reason] || record.reason));
    if (record.detail) box.append(element("small", "", record.detail));
    if (record.event) box.append(heardEvent(record));
    return box;
  }
  box.append(record.emotion);
  const cost = record.expected_cost === null ? "" : ` · expected cost ${record.expected_cost.toFixed(2)}`;
  box.append(element("small", "", interim ? "so far" : `confidence ${percent(record.confidence)}${cost}`));
  if (record.event) box.append(heardEvent(record));
  return box;
}

function heardEvent(record) {
  return element("small", "event", `${record.event.replaceAll("_", " ")} heard, ${percent(record.event_score)}`);
}

function bars(scores) {
  const box = element("div", "bars");
  const top = Math.max(...Object.values(scores));
  for (const [category, score] of Object.entries(scores)) {
    const meter = element("div", "meter");
    const fill = element("i");
    fill.style.setProperty("--w", `${Math.max(0, Math.min(1, score)) * 100}%`);
    fill.style.setProperty("--c", colourOf(category));
    meter.append(fill);
    const label = element("span", score === top ? "cat top-cat" : "cat", category);
    box.append(label, meter, element("span", "value", percent(score)));
  }
  return box;
}

function dimensions(record) {
  const box = element("div", "dims");
  for (const dimension of ["arousal", "valence"]) {
    const value = record[dimension];
    if (value === null) continue;
    const bar = element("div", "signed");
    const fill = element("i");
    fill.style.setProperty("--w", `${Math.abs(value) * 50}%`);
    fill.style.setProperty("--l", `${value < 0 ? 50 - Math.abs(value) * 50 : 50}%`);
    bar.append(fill);
    box.append(element("span", "cat", dimension), bar, element("span", "value", signed(value)));
  }
  return box;
}

// ---- a call in the list ----

export function callItem(call, points, selected, onSelect) {
  const item = element("li");
  const button = element("button", "call-item");
  button.type = "button";
  if (selected) button.setAttribute("aria-current", "true");
  button.append(element("span", "id", call.info.call_id));
  if (call.info.state === "active") button.append(element("span", "live", "live"));
  else button.append(element("span", "when", timeOfDay(call.info.ended_at)));
  const count = call.info.utterances;
  button.append(element("span", "info", `${call.info.line} · ${count} utterance${count === 1 ? "" : "s"}`));
  if (call.info.outcome && call.info.outcome !== "completed") {
    button.append(element("span", "when", call.info.outcome.replaceAll("_", " ")));
  } else button.append(element("span", "when", call.end_s ? clock(call.end_s) : ""));
  const beads = element("span", "beads");
  for (const point of points.slice(-17)) {
    const bead = element("i", point.emotion ? "" : "abstained");
    if (point.emotion) bead.style.setProperty("--c", colourOf(point.emotion));
    beads.append(bead);
  }
  if (points.length) button.append(beads);
  button.addEventListener("click", onSelect);
  item.append(button);
  return item;
}

export function timeOfDay(stamp) {
  return stamp ? new Date(stamp).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : "";
}

// ---- the call as a strip: one lane a leg, one piece an utterance ----

export function strip(legs, points, speaking, end_s, width) {
  const left = 74;
  const lane = 22;
  const height = legs.length * (lane + 6) + 18;
  const span = Math.max(10, end_s);
  const x = (seconds) => left + (seconds / span) * (width - left);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(drawn("title", {}, "Utterances over the time of the call"));
  legs.forEach((leg, row) => {
    const y = row * (lane + 6);
    svg.append(drawn("text", { x: 0, y: y + 15 }, leg));
    svg.append(drawn("rect", { class: "lane", x: left, y, width: width - left, height: lane, rx: 5 }));
    for (const point of points) {
      if (point.leg !== leg) continue;
      const piece = drawn("rect", {
        class: point.emotion ? "piece" : "piece abstained",
        x: x(point.start_s),
        y: y + 3,
        width: Math.max(2, x(point.end_s) - x(point.start_s) - 1),
        height: lane - 6,
        rx: 3,
      });
      if (point.emotion) piece.style.setProperty("--c", colourOf(point.emotion));
      const what = point.emotion || REASONS[point.reason] || "";
      piece.append(drawn("title", {}, `${clock(point.start_s)} – ${clock(point.end_s)}: ${what}`));
      svg.append(piece);
    }
    const now = speaking.get(leg);
    if (now) {
      const from = x(Math.min(now.start_s, span));
      svg.append(drawn("rect", { class: "piece speaking", x: from, y: y + 3, width: Math.max(6, width - from), height: lane - 6, rx: 3 }));
    }
  });
  const step = [5, 10, 30, 60, 300, 600, 1800].find((candidate) => (span / candidate) * 70 <= width) || 3600;
  for (let tick = 0; tick < span; tick += step) {
    svg.append(drawn("text", { x: x(tick), y: height - 4 }, clock(tick).replace(/\.0$/, "")));
  }
  return svg;
}

// ---- where the audio went ----

export function account(summary) {
  const box = element("div", "account-legs");
  const parts = ["scored", "silence", "rejected", "lost"];
  const legs = Object.entries(summary.legs || {});
  for (const [leg, { audio }] of legs) {
    const total = parts.reduce((sum, part) => sum + audio[`${part}_s`], 0);
    if (!total) continue;
    const bar = element("div", "bar");
    const key = element("p");
    for (const part of parts) {
      const seconds = audio[`${part}_s`];
      const piece = element("i", `part-${part}`);
      piece.style.setProperty("--w", `${(seconds / total) * 100}%`);
      bar.append(piece);
      if (seconds) key.append(element("span", `key part-${part}`, `${part} ${seconds.toFixed(1)} s`));
    }
    const side = element("div");
    side.append(element("p", "legname", `${leg} audio`), bar, key);
    box.append(side);
  }
  return box;
}
