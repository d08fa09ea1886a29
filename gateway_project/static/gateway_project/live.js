// A part of a page with data-live="URL" is asked for again every data-every seconds while somebody
// looks at it. What cannot be had stays as it is, and says since when. That prolongs no login: once
// it has ended, the part says so and asks no more.
function age(part, since) {
  const told = part.querySelector("[data-live-age]");
  if (told) {
    told.textContent = `Not updated since ${since.toLocaleTimeString()}`;
  }
  return told;
}

function end(part, since) {
  const told = age(part, since) || part.appendChild(document.createElement("p"));
  const link = document.createElement("a");
  link.href = location.href;
  link.className = "underline";
  link.textContent = "log in again";
  told.setAttribute("role", "status");
  told.append(". Your login has ended: ", link, ".");
}

function keep(part) {
  let since = new Date();
  let over = false;
  async function refresh() {
    if (over || document.hidden || part.contains(document.activeElement)) {
      return;
    }
    try {
      const options = { headers: { "X-Requested-With": "fetch" }, redirect: "manual" };
      const answer = await fetch(part.dataset.live, options);
      if (over) {
        return;
      }
      // The one place that it is ever sent to is the login.
      if (answer.type === "opaqueredirect") {
        over = true;
        clearInterval(timer);
        end(part, since);
        return;
      }
      if (!answer.ok) {
        throw new Error(answer.status);
      }
      part.innerHTML = await answer.text();
      since = new Date();
    } catch {
      age(part, since);
    }
  }
  const timer = setInterval(refresh, Number(part.dataset.every || 5) * 1000);
  document.addEventListener("visibilitychange", refresh);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-live]").forEach(keep);
});
