// Talks to the service. The key lives in this module's memory and nowhere else.

let key = "";

export class KeyNeeded extends Error {}

export function setKey(value) {
  key = value;
}

function headers() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function request(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  if (answer.status === 401) throw new KeyNeeded();
  return answer;
}

export async function getJson(path) {
  const answer = await request(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.title || `HTTP ${answer.status}`);
  return body;
}

// Every page of a list, up to `most` items.
export async function getAll(path, most) {
  const items = [];
  let cursor = null;
  do {
    const join = path.includes("?") ? "&" : "?";
    const page = await getJson(path + (cursor ? `${join}cursor=${encodeURIComponent(cursor)}` : ""));
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < most);
  return items;
}

export async function eraseCall(callId) {
  const answer = await request(`/v1/calls/${encodeURIComponent(callId)}`, { method: "DELETE" });
  if (!answer.ok && answer.status !== 404) throw new Error(`HTTP ${answer.status}`);
}

// Reads the live feed until it ends. EventSource cannot send a key, so the stream is read by hand.
export async function followEvents(onOpen, onEvent) {
  const answer = await request("/v1/events", { headers: { Accept: "text/event-stream" } });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  onOpen();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event) onEvent(event.type, event.body);
    }
  }
}

function parseEvent(block) {
  let type = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) type = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return data.length ? { type, body: JSON.parse(data.join("\n")) } : null;
}
