"use strict";
(() => {
  const bar = document.getElementById("filter");
  const told = document.getElementById("told");
  const [search, verdict, severity] = bar.querySelectorAll("input, select");
  const entries = [...document.querySelectorAll("[data-verdict]")].map((place) => ({
    place,
    text: place.textContent.toLowerCase(),
    row: place.tagName === "TR",
  }));
  const rows = entries.filter((entry) => entry.row).length;
  const sections = [...document.querySelectorAll(".findings")];
  const wanted = (choice, value) => !choice.value || choice.value === value;
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const entry of entries) {
      const { verdict: own, severity: grave } = entry.place.dataset;
      const fits =
        wanted(verdict, own) && wanted(severity, grave) && words.every((word) => entry.text.includes(word));
      entry.place.hidden = !fits;
      shown += fits && entry.row ? 1 : 0;
    }
    for (const section of sections) {
      section.hidden = !section.querySelector("[data-verdict]:not([hidden])");
    }
    told.textContent = shown === rows ? "" : `Filtered: ${shown} of ${rows} shown`;
  };
  for (const event of ["input", "change"]) bar.addEventListener(event, apply);
  bar.hidden = false;
  apply();
})();
