// A form that was sent back says above it which fields are wrong, each with a link to it. The
// keyboard is put there, so that what is wrong is also the first that is read out.
(() => {
  const FIELDS = "input:not([type=hidden]), select, textarea";

  function nameOf(field) {
    const name = field.labels?.[0]?.textContent || field.getAttribute("aria-label") || field.name;
    const row = field.closest(".form-group");
    const group = field.closest("[data-inline-type]")?.querySelector("h2");
    if (!row || !group) return plain(name);
    const place = [...row.parentElement.querySelectorAll(":scope > .form-group")].indexOf(row) + 1;
    return `${plain(group.textContent)}, row ${place}, ${plain(name)}`;
  }

  function plain(text) {
    return text.replace("*", "").replace(/\s+/g, " ").trim();
  }

  function saidOf(field) {
    for (let around = field.parentElement; around && around.id !== "content"; around = around.parentElement) {
      const said = around.querySelector("div.text-red-600");
      if (said) return plain(said.textContent);
    }
    return "";
  }

  function* wrong(form) {
    for (const field of form.querySelectorAll(`:is(${FIELDS})[aria-invalid=true]`)) {
      if (!field.closest(".empty-form")) yield [field, `${nameOf(field)}: ${saidOf(field)}`];
    }
    // What is wrong with a row, or with several, is said above them.
    for (const note of form.querySelectorAll("[data-inline-type] .errornote")) {
      const row = note.closest(".form-group") ?? note.closest("[data-inline-type]");
      const field = row.querySelector(`.form-row :is(${FIELDS})`);
      if (field) yield [field, plain(note.textContent)];
    }
  }

  function goTo(field) {
    const shown = field.nextElementSibling?.matches(".select2") ? field.nextElementSibling : null;
    (shown?.querySelector(".select2-selection[tabindex], .select2-search__field") ?? field).focus();
  }

  function tell(note) {
    const list = document.createElement("ul");
    for (const [field, text] of wrong(note.closest("form"))) {
      const link = document.createElement("a");
      link.href = `#${field.id}`;
      link.textContent = text;
      link.addEventListener("click", (event) => {
        event.preventDefault();
        goTo(field);
      });
      list.appendChild(document.createElement("li")).append(link);
    }
    const summary = document.createElement("div");
    summary.className = `${note.className} tollgate-errors`;
    summary.tabIndex = -1;
    summary.setAttribute("role", "alert");
    summary.append(note.textContent.trim(), list);
    note.replaceWith(summary);
    summary.focus();
  }

  // When names are given (accessible.js) and unfold has drawn its fields.
  window.addEventListener("load", () => {
    const note = document.querySelector("form[id$=_form] p.errornote");
    if (note) tell(note);
  });
})();
