// The least page there can be: it takes a key, keeps it in memory alone, and shows what /api/live says.

const form = document.getElementById("sign-in");
const problem = document.getElementById("problem");
const live = document.getElementById("live");

function show(name, data) {
  if (name === "tick") {
    form.hidden = true;
    live.hidden = false;
    live.textContent = JSON.stringify(JSON.parse(data), null, 1);
    document.documentElement.dataset.signedIn = "yes";
  }
}

async function read(key) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch("/api/live", { headers, cache: "no-store" });
  if (!answer.ok) {
    problem.textContent = (await answer.json()).error;
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      show(name, data);
    }
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  problem.textContent = "";
  read(document.getElementById("key").value.trim()).catch(() => { problem.textContent = "The gateway does not answer."; });
});
