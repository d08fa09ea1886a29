// A form is not sent twice by a double click: the second request would drop the first one's answer.
const PAUSE_MS = 3000;

for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    // An answer that is a file leaves the page as it is.
    setTimeout(() => { delete form.dataset.sent; }, PAUSE_MS);
  });
}
