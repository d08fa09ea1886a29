// Rows whose order counts, such as a tenant's fallback models: unfold moves them with a mouse, this
// with buttons. They are saved in the order in which they stand, new ones with the others.
(() => {
  const ROW = ".form-group:not(.empty-form)";
  const WAYS = { up: "keyboard_arrow_up", down: "keyboard_arrow_down" };

  function number(table) {
    table.querySelectorAll(`:scope > ${ROW}`).forEach((row, place) => {
      const position = row.querySelector(`[name$=-${table.dataset.orderingField}]`);
      if (position) position.value = place + 1;
    });
  }

  function addButtons(handle) {
    const buttons = Object.entries(WAYS).map(([way, icon]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "tollgate-move";
      button.dataset.move = way;
      button.title = `Move ${way}`;
      button.innerHTML = `<span class="material-symbols-outlined">${icon}</span>`;
      return button;
    });
    handle.after(...buttons);
  }

  function move(button, said) {
    const row = button.closest(".form-group");
    const table = row.closest("table");
    const rows = [...table.querySelectorAll(`:scope > ${ROW}`)];
    const place = rows.indexOf(row) + (button.dataset.move === "up" ? -1 : 1);
    if (rows[place]) {
      rows[place][button.dataset.move === "up" ? "before" : "after"](row);
      number(table);
      // So that leaving the page unsaved is asked about.
      row.querySelector("input, select").dispatchEvent(new Event("input", { bubbles: true }));
      button.focus();
    }
    const now = Math.min(Math.max(place, 0), rows.length - 1) + 1;
    said.textContent = `${row.querySelector("select")?.selectedOptions[0]?.text ?? "The row"} is ${now} of ${rows.length}.`;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const tables = document.querySelectorAll("table[data-ordering-field]");
    tables.forEach((table) => {
      const said = document.createElement("p");
      said.className = "tollgate-unseen";
      said.setAttribute("role", "status");
      table.before(said);
      table.querySelectorAll(".form-row .material-symbols-outlined").forEach((icon) => {
        if (icon.textContent.trim() === "drag_indicator") addButtons(icon.parentElement);
      });
      table.addEventListener("click", (event) => {
        const button = event.target.closest("[data-move]");
        if (button) move(button, said);
      });
      table.closest("form").addEventListener("submit", () => number(table));
    });
  });
})();
