// What unfold's pages do not tell those who see no icons or use no mouse: landmarks, names, keys.
// All of it is added to the page as it is drawn; without this script pages look and work the same.
(() => {
  // Buttons that are nothing but an icon, and no tooltip says what they do.
  const ICONS = {
    close: "Close",
    computer: "Theme",
    dark_mode: "Theme",
    dock_to_right: "Menu",
    light_mode: "Theme",
    more_horiz: "More actions",
    more_vert: "Related rows",
    search: "Search",
    toll: "Overview",
  };
  const ICON = ".material-symbols-outlined";
  const CLICKABLE = "a, button, [x-on\\:click]";

  function each(root, selector, mend) {
    if (root.matches(selector)) mend(root);
    root.querySelectorAll(selector).forEach(mend);
  }

  function nameIcons(root) {
    each(root, CLICKABLE, (element) => {
      const icon = element.matches(ICON) ? element : element.querySelector(ICON);
      const name = icon && ICONS[icon.textContent.trim()];
      if (name && !element.title && !wordsOf(element)) element.setAttribute("aria-label", name);
    });
    // A ligature's letters are not to be read; one that is a button itself has a name by now.
    each(root, ICON, (icon) => {
      if (!icon.matches(CLICKABLE)) icon.setAttribute("aria-hidden", "true");
    });
  }

  function wordsOf(element) {
    if (element.matches(ICON)) return "";
    const copy = element.cloneNode(true);
    copy.querySelectorAll(ICON).forEach((icon) => icon.remove());
    return copy.textContent.trim();
  }

  function makeButtons(root) {
    const notKeys = ":not(button, a[href], input, select, textarea, summary, label, [tabindex])";
    each(root, `[x-on\\:click]${notKeys}`, (element) => {
      if (!element.textContent.trim() || element.querySelector("a, button, input")) return;
      makeButton(element);
    });
  }

  function makeButton(element) {
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    element.dataset.pressed = "by keys";
  }

  // One for all of them: rows are copied and moved, and their own listeners were lost or doubled.
  document.addEventListener("keydown", (event) => {
    if (!event.target.matches("[data-pressed]") || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    event.target.click();
  });

  function makeRemovers(root) {
    // Of a saved row it is a box within its icon, which no key reached; of a new one an icon alone.
    each(root, "label input.delete", (box) => {
      box.setAttribute("aria-label", "Remove");
      box.parentElement.classList.replace("hidden", "tollgate-unseen");
    });
    each(root, ".delete-template", (element) => {
      element.setAttribute("aria-label", "Remove");
      makeButton(element);
    });
  }

  function nameFields(root) {
    // In a table of rows a field's name stands over its column.
    each(root, "td input, td select, td textarea", (field) => {
      if (field.labels?.length || field.type === "hidden") return;
      const column = /(?:^|\s)field-(\S+)/.exec(field.closest("td").className);
      const heading = column && field.closest("table").querySelector(`th.column-${column[1]}`);
      if (heading) field.setAttribute("aria-label", wordsOf(heading).replace("*", ""));
    });
    each(root, ".select2-selection", (selection) => {
      const select = selection.closest(".select2").previousElementSibling;
      const name = select?.labels?.[0]?.textContent || select?.getAttribute("aria-label");
      if (name) {
        const value = selection.querySelector(".select2-selection__rendered");
        selection.setAttribute("aria-label", name.trim().replace("*", ""));
        selection.setAttribute("aria-labelledby", `${(selection.id ||= `for-${select.id}`)} ${value.id}`);
      }
      // It says that it is a field of its own, and is only the value of this one.
      for (const wrong of ["role", "aria-readonly"]) {
        selection.querySelector(".select2-selection__rendered")?.removeAttribute(wrong);
      }
      selection.querySelector("input")?.setAttribute("aria-label", (name || "Search").trim());
    });
    // Among a field's many values only list items may stand.
    each(root, "ul > .select2-selection__clear", (button) => {
      button.setAttribute("role", "listitem");
    });
    each(root, ".select2-search--dropdown input", (field) => {
      field.setAttribute("aria-label", "Search");
    });
  }

  function nameDates(root) {
    // A date and its time are two fields under one label, which is for neither.
    each(root, ".vDateField, .vTimeField", (field) => {
      const part = field.matches(".vDateField") ? "date" : "time";
      if (!field.labels.length) field.setAttribute("aria-label", `${labelOf(field)}, ${part}`);
    });
    each(root, ".datetimeshortcuts", (shortcuts) => {
      const name = labelOf(shortcuts);
      shortcuts.querySelectorAll("a").forEach((link) => {
        const does = link.textContent.trim() || link.firstElementChild?.title;
        link.setAttribute("aria-label", `${name}: ${does}`);
      });
    });
  }

  function labelOf(element) {
    const around = element.closest(":has(label)");
    return around ? wordsOf(around.querySelector("label")).replace("*", "") : "";
  }

  function nameRegions(root) {
    each(root, ".simplebar-content-wrapper", (region) => {
      const place = region.closest("nav, #changelist-filter, #content");
      const heading = region.closest("fieldset, .module")?.querySelector("h2, h3");
      region.setAttribute("aria-label", heading?.textContent.trim() || PLACES[place?.id] || "Menu");
    });
    each(root, "th", (heading) => {
      if (!heading.textContent.trim() && !heading.querySelector("input")) {
        heading.innerHTML = '<span class="tollgate-unseen">Remove</span>';
      }
    });
  }
  const PLACES = { content: "Table", "changelist-filter": "Filters" };

  function mend(root) {
    makeButtons(root);
    makeRemovers(root);
    nameIcons(root);
    nameFields(root);
    nameDates(root);
    nameRegions(root);
  }

  function landmarks() {
    (document.getElementById("main") ?? document.getElementById("page"))?.setAttribute("role", "main");
    const content = document.getElementById("content");
    if (!content || !document.querySelector("nav")) return;
    content.tabIndex = -1;
    const skip = document.createElement("a");
    skip.href = "#content";
    skip.className = "tollgate-skip";
    skip.textContent = "Skip to the page";
    document.body.prepend(skip);
  }

  document.addEventListener("DOMContentLoaded", () => {
    landmarks();
    mend(document.body);
    // select2 and inlines draw later; what is mended changes attributes only, so this ends.
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) {
        for (const node of addedNodes) {
          // An added row is drawn twice, and by now the first is gone from the page.
          if (node.nodeType === Node.ELEMENT_NODE && node.isConnected) mend(node);
        }
      }
    }).observe(document.body, { childList: true, subtree: true });
  });
})();
