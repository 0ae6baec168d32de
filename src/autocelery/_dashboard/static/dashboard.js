"use strict";
// The page shows what the server tells it, and every text as text: nothing that a task says becomes markup.

const MOST_ROWS = 300;
const tasks = new Map();
const rows = new Map();
const by = (id) => document.getElementById(id);

function cell(content, kind) {
  const made = document.createElement("td");
  if (kind) made.className = kind;
  if (content instanceof Node) made.append(content); else made.textContent = content;
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function showWorkers(workers) {
  const made = workers.map((each) => {
    const name = element("span", each.name, each.alive ? "" : "gone");
    if (!each.alive) name.append(" (gone)");
    else if (!each.tells) name.append(element("span", " sends no events: start it with -E", "quiet"));
    return row(cell(name), cell(each.queues.join(", ")), cell(each.running, "number"), cell(each.processed, "number"));
  });
  if (!made.length) made.push(row(cell("No worker answers.", "quiet")));
  by("workers").tBodies[0].replaceChildren(...made);
}

function showQueues(queues) {
  const made = queues.map((each) => {
    const nobody = each.workers.length ? "" : "nobody";
    const told = row(cell(each.name), cell(each.length ?? "–", "number"), cell(each.workers.join(", ") || "nobody", nobody));
    told.dataset.queue = each.name;
    return told;
  });
  by("queues").tBodies[0].replaceChildren(...made);
}

function resultOf(task) {
  if (!task.traceback) return element("code", task.result);
  const made = document.createElement("details");
  const summary = document.createElement("summary");
  summary.append(element("code", task.result));
  made.append(summary, element("pre", task.traceback));
  made.open = rows.get(task.id)?.querySelector("details")?.open ?? false;
  return made;
}

function taskRow(task) {
  const at = element("time", new Date(task.at * 1000).toLocaleTimeString());
  at.title = new Date(task.at * 1000).toISOString();
  const name = element("span", task.name);
  name.title = task.id;
  const given = [task.args, task.kwargs].filter((each) => each && each !== "()" && each !== "{}").join(" ");
  const state = element("span", task.retries ? `${task.state} (retry ${task.retries})` : task.state, task.state);
  const seconds = task.seconds === null ? "" : task.seconds.toFixed(task.seconds < 10 ? 3 : 1);
  const made = row(cell(at), cell(name), cell(state), cell(element("code", given)), cell(seconds, "number"),
    cell(resultOf(task)), cell(task.worker, "quiet"));
  made.dataset.task = task.id;
  return made;
}

function isWanted(task) {
  const text = by("search").value.trim().toLowerCase();
  const state = by("state").value;
  if (state && task.state !== state) return false;
  return !text || [task.name, task.id, task.args, task.kwargs].some((each) => each.toLowerCase().includes(text));
}

function showTasks(changed) {
  for (const each of changed) tasks.set(each.id, each);
  const latest = [...tasks.values()].sort((one, other) => other.at - one.at);
  for (const each of latest.splice(1000)) { tasks.delete(each.id); rows.delete(each.id); }
  for (const each of changed) if (tasks.has(each.id)) rows.set(each.id, taskRow(each));
  const wanted = latest.filter(isWanted);
  by("tasks").tBodies[0].replaceChildren(...wanted.slice(0, MOST_ROWS).map((each) => rows.get(each.id)));
  by("count").textContent = wanted.length === latest.length ? `${latest.length} tasks` : `${wanted.length} of ${latest.length} tasks`;
}

function say(text, kind) {
  by("status").textContent = text;
  by("status").className = kind ?? "";
}

for (const id of ["search", "state"]) by(id).addEventListener("input", () => showTasks([]));

const events = new EventSource("/api/events");
events.onopen = () => { tasks.clear(); rows.clear(); say("live"); };
events.onerror = () => say("The dashboard does not answer. It is tried again.", "problem");
events.onmessage = (event) => {
  const told = JSON.parse(event.data);
  if (told.workers) showWorkers(told.workers);
  if (told.queues) showQueues(told.queues);
  if ("problem" in told) say(told.problem || "live", told.problem ? "problem" : "");
  showTasks(told.tasks);
};
