// What the pages do beyond what the server has rendered: parts that are fetched again, and rows as they come.
"use strict";

const ROWS_MAX = 200;

/** Refetches this page at an interval, and replaces its parts marked `data-live`. */
function refresh(seconds) {
  let under_way = false;
  let fresh_at = new Date();
  const away = document.createElement("div");
  away.className = "notice bad";
  away.setAttribute("role", "status");
  setInterval(async () => {
    if (document.hidden || under_way) return;
    under_way = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.status === 401) location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live][id]")) {
        const found = fresh.getElementById(part.id);
        if (found && !part.contains(document.activeElement)) part.replaceWith(document.importNode(found, true));
      }
      fresh_at = new Date();
      away.remove();
    } catch {
      away.textContent = "The service does not respond. This page shows the state at " + fresh_at.toLocaleTimeString() + ".";
      if (!away.isConnected) document.getElementById("main").prepend(away);
    } finally {
      under_way = false;
    }
  }, seconds * 1000);
}

function cell(row, label, text, name) {
  const td = document.createElement("td");
  td.dataset.label = label;
  if (name) td.className = name;
  td.textContent = text;
  row.append(td);
}

function shown(value) {
  return value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

/** Shows rows of GET /tail, the newest first. */
function follow(table) {
  const state = document.getElementById("tail-state");
  const body = table.tBodies[0];
  const source = new EventSource(table.dataset.tail);
  let rows = 0;
  let missed = 0;
  const say = text => {
    state.textContent = text + (missed ? " Missed, because they came too fast to show: " + missed + "." : "");
  };
  const button = document.getElementById("tail-pause");
  let paused = false;
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
  });
  source.onopen = () => say("Watching: rows appear here as they are accepted.");
  source.onerror = () => say(source.readyState === EventSource.CLOSED
    ? "The service does not show rows now; reload the page." : "The connection was lost; trying again.");
  source.addEventListener("missed", event => { missed += JSON.parse(event.data).rows; });
  source.onmessage = event => {
    if (paused) return;
    const { kind, timestamp, received_at, workspace, payload, ...rest } = JSON.parse(event.data);
    const row = document.createElement("tr");
    cell(row, "Received (UTC)", received_at.slice(0, 23).replace("T", " ").replace("Z", ""), "time");
    cell(row, "Workspace", workspace, "number");
    cell(row, "Kind", kind);
    cell(row, "Row", Object.entries(rest).filter(pair => pair[1] !== null).map(pair => pair.join(" ")).join(" · "), "path");
    cell(row, "Payload", shown(payload).slice(0, 500), "path");
    if (!rows) body.replaceChildren();
    body.prepend(row);
    rows += 1;
    while (body.rows.length > ROWS_MAX) body.deleteRow(-1);
    say("Shown since this page was opened: " + rows + (rows === 1 ? " row." : " rows."));
  };
  addEventListener("pagehide", () => source.close());
}

const seconds = Number(document.body.dataset.refresh);
if (seconds) refresh(seconds);
const tail = document.querySelector("table[data-tail]");
if (tail) follow(tail);
const editor = document.querySelector("textarea[data-send]");
if (editor) {
  editor.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) editor.form.requestSubmit();
  });
}
