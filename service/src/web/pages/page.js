"use strict";

// Signs in by the code behind `#`, which a browser never sends; it is taken out of the address at once.
async function signIn(credential) {
  const response = await fetch("/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(credential),
  });
  if (response.ok) {
    location.reload();
    return;
  }
  const problem = await response.json();
  const place = document.getElementById("sign-in-problem");
  if (place) {
    place.textContent = problem.detail;
    place.hidden = false;
  }
}

const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", location.pathname + location.search);
  signIn({ code });
}

document.getElementById("sign-in")?.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn({ token: document.getElementById("token").value.trim() });
});

document.getElementById("sign-out")?.addEventListener("click", async () => {
  await fetch("/session", { method: "DELETE" });
  location.reload();
});

// Whatever happens, the same page is read again and its live part is replaced; many events at once cause one reading.
const live = document.getElementById("live");
let isReading = false;
let isStale = false;

async function refresh() {
  isStale = true;
  if (isReading) return;
  isReading = true;
  while (isStale) {
    isStale = false;
    const response = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    if (response.status === 401) return location.reload();
    if (response.ok) replace(new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live"));
    await new Promise((done) => setTimeout(done, 250));
  }
  isReading = false;
}

function replace(fresh) {
  if (!fresh) return;
  for (const details of live.querySelectorAll("details[open]")) {
    const same = fresh.querySelector("#" + details.id);
    if (same) same.open = true;
  }
  live.replaceChildren(...fresh.childNodes);
}

if (live) {
  const events = new EventSource("/api/v1/events");
  for (const kind of ["release", "delivery", "rollout", "sync", "reset"]) events.addEventListener(kind, refresh);
  setInterval(refresh, 30_000);
}
