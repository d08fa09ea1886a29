// A part of a page with data-live="URL" is asked for again every data-every seconds while somebody
// looks at it. What cannot be had stays as it is, and says since when.
function age(part, since) {
  const told = part.querySelector("[data-live-age]");
  if (told) {
    told.textContent = `not updated since ${since.toLocaleTimeString()}`;
  }
}

function keep(part) {
  let since = new Date();
  async function refresh() {
    if (document.hidden || part.contains(document.activeElement)) {
      return;
    }
    try {
      const answer = await fetch(part.dataset.live, { headers: { "X-Requested-With": "fetch" } });
      if (!answer.ok || answer.redirected) {
        throw new Error(answer.status);
      }
      part.innerHTML = await answer.text();
      since = new Date();
    } catch {
      age(part, since);
    }
  }
  setInterval(refresh, Number(part.dataset.every || 5) * 1000);
  document.addEventListener("visibilitychange", refresh);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-live]").forEach(keep);
});
