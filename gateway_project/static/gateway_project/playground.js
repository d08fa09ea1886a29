// Sends what the form says and shows the frames of the answer as they come: pieces of text, then
// one frame `tried`, or `refused`, whose words the server chose.
const form = document.getElementById("playground");
const outcome = document.getElementById("outcome");
const send = form.querySelector("[data-send]");
const stop = form.querySelector("[data-stop]");
const state = form.querySelector("[data-state]");
const part = (name) => outcome.querySelector(`[data-${name}]`);
let leaving = null;

function asked() {
  const fields = new FormData(form);
  const call = { message: fields.get("message") };
  if (fields.get("model")) {
    call.modelId = fields.get("model");
  }
  if (fields.get("max_tokens")) {
    call.maxTokens = Number(fields.get("max_tokens"));
  }
  return call;
}

function clear() {
  outcome.hidden = true;
  for (const name of ["answer", "facts", "problem", "note"]) {
    part(name).replaceChildren();
  }
  part("attempts").querySelector("tbody").replaceChildren();
  for (const name of ["problem", "attempts", "entry-link"]) {
    part(name).hidden = true;
  }
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function tellProblem(code, sentences) {
  const heading = element("strong", code);
  part("problem").replaceChildren(heading, ...sentences.map((text) => element("p", text)));
  part("problem").hidden = false;
}

function linkEntry(url) {
  part("entry-link").hidden = !url;
  part("entry-link").querySelector("a").href = url || "#";
}

function tellEnd(told) {
  if (told.failed) {
    tellProblem(`${told.failed.status} ${told.failed.code}`, told.failed.sentences);
  }
  for (const [name, text] of told.facts) {
    part("facts").append(element("dt", name), element("dd", text));
  }
  const titles = ["Upstream", "Model", "Outcome", "Began after", "Took"];
  for (const attempt of told.attempts) {
    const row = document.createElement("tr");
    attempt.forEach((text, at) => {
      const cell = element("td", text);
      cell.dataset.label = titles[at];
      row.append(cell);
    });
    part("attempts").querySelector("tbody").append(row);
  }
  part("attempts").hidden = told.attempts.length === 0;
  linkEntry(told.entryUrl);
}

function take(frame) {
  const fields = {};
  for (const line of frame.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) {
      fields[line.slice(0, colon)] = line.slice(colon + 2);
    }
  }
  if (!fields.data) {
    return false;
  }
  const data = JSON.parse(fields.data);
  if (!fields.event) {
    part("answer").append(data.content);
    state.textContent = "Answering …";
  } else if (fields.event === "tried" || fields.event === "refused") {
    tellEnd(data);
    return true;
  }
  return false;
}

async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let ended = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return ended;
    }
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      ended = take(frame) || ended;
    }
  }
}

const STOPPED = "Stopped. Charged is what had come until then and, once a model had begun to answer, the message; the ledger has it in a moment.";
// Whether the server still runs cannot be told from here.
const LOST = [
  "If the server lives, it charges what had come until then; the ledger has it in a moment.",
  "If it died, the ledger has it within a minute: charged by what it had last written down, or, if that was nothing, in full as held. The entry says which.",
];

function lost(requestId) {
  const entry = requestId && form.dataset.entry.replace(/[0-]{36}/, requestId);
  linkEntry(entry);
  if (leaving.signal.aborted) {
    part("note").textContent = requestId ? STOPPED : "Stopped before it began.";
  } else if (requestId) {
    tellProblem("The connection ended before the answer did", LOST);
  } else {
    tellProblem("No connection", ["Nothing came back. If it was admitted, the ledger has it within a minute."]);
  }
}

async function refusal(answer) {
  if (answer.headers.get("content-type") !== "application/json") {
    const words = "Nothing was sent. Perhaps you are logged out, or may not try this tenant any more: load the page again.";
    tellProblem(answer.status ? String(answer.status) : "Logged out", [words]);
    return;
  }
  const { error } = await answer.json();
  const fields = Object.entries(error.fields || {}).map(([name, what]) => `${name} ${what}.`);
  tellProblem(`${answer.status} ${error.code}`, fields.length ? fields : [error.message]);
}

async function ask() {
  const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
  let requestId = "";
  try {
    const answer = await fetch(window.location.pathname, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": token },
      body: JSON.stringify(asked()),
      redirect: "manual",
      signal: leaving.signal,
    });
    outcome.hidden = false;
    requestId = answer.headers.get("x-request-id") || "";
    if (!(answer.headers.get("content-type") || "").startsWith("text/event-stream")) {
      await refusal(answer);
    } else if (!(await read(answer.body))) {
      lost(requestId);
    }
  } catch {
    outcome.hidden = false;
    lost(requestId);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (leaving) {
    return;
  }
  leaving = new AbortController();
  clear();
  send.disabled = true;
  stop.disabled = false;
  state.textContent = "Waiting for the answer …";
  part("answer").setAttribute("aria-busy", "true");
  await ask();
  part("answer").setAttribute("aria-busy", "false");
  state.textContent = "";
  stop.disabled = true;
  send.disabled = false;
  leaving = null;
});

stop.addEventListener("click", () => leaving && leaving.abort());
