"use strict";

async function ask(path, form) {
  const answer = await fetch(path, form ? { method: "POST", body: new FormData(form) } : {});
  return answer.json();
}

function outcomeOf(form) {
  let shown = form.querySelector(".outcome");
  if (!shown) {
    shown = document.createElement("span");
    form.append(shown);
  }
  shown.className = "outcome quiet";
  shown.textContent = "…";
  return shown;
}

async function follow(id, shown) {
  for (;;) {
    const told = await ask(`/results/${id}`);
    shown.className = told.state;
    shown.textContent = told.result ?? told.state;
    if (told.result !== null) return;
    await new Promise((done) => setTimeout(done, 500));
  }
}

for (const form of document.querySelectorAll("form[data-ask]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const calls = document.getElementById("calls");
    if (form.closest("#worker")) {
      const told = await ask(form.dataset.ask, form);
      const shown = document.createElement("li");
      calls.prepend(shown);
      follow(told.id, shown);
      return;
    }
    const shown = outcomeOf(form);
    const told = await ask(form.dataset.ask, form);
    shown.textContent = told.ids ? `${told.ids.length} are queued` : told.text;
    shown.className = `outcome ${told.ok ?? true ? "ok" : "failed"}`;
  });
}

async function showQueues() {
  const lengths = await ask("/queues").catch(() => ({}));
  for (const [name, length] of Object.entries(lengths)) document.getElementById(name).textContent = length;
  setTimeout(showQueues, 500);
}

if (document.getElementById("hello_queue")) showQueues();
