"use strict";
{
  const form = document.querySelector("#filter");
  const query = document.querySelector("#query");
  const boxes = [...form.querySelectorAll("[name=level]")];
  const said = (item) => item.querySelectorAll(":scope > .path, :scope > .label");
  const items = [...document.querySelectorAll(".item")].map((item) => ({
    item,
    kind: item.matches("tr") ? "row" : item.matches(".tile") ? "picture" : "finding",
    group: item.closest("[data-level]"),
    text: ([...said(item)].map((part) => part.textContent).join("\n") || item.textContent).toLowerCase(),
  }));
  const groups = new Set(items.map(({ group }) => group));

  const filter = () => {
    const wanted = query.value.trim().toLowerCase();
    const levels = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const matching = new Map([...groups].map((group) => [group, { picture: 0, row: 0, finding: 0 }]));
    const shown = { picture: 0, row: 0, finding: 0 };
    const all = { picture: 0, row: 0, finding: 0 };
    for (const { item, kind, group, text } of items) {
      const fits = levels.has(group.dataset.level) && text.includes(wanted);
      if (item !== group) item.hidden = !fits;
      all[kind] += 1;
      if (fits) {
        shown[kind] += 1;
        matching.get(group)[kind] += 1;
      }
    }
    for (const [group, { picture, row, finding }] of matching) {
      group.hidden = picture + row + finding === 0;
      const names = group.querySelector(".matching");
      if (names) names.textContent = wanted ? `(${row} match)` : "";
      if (names && wanted && row && !picture) group.querySelector("details").open = true;
    }
    for (const section of document.querySelectorAll(".filtered")) {
      const inside = [...section.querySelectorAll("[data-level]")];
      section.querySelector(".unmatched").hidden = inside.length === 0 || inside.some((group) => !group.hidden);
    }
    const words = { picture: "pictures", row: "names", finding: "findings on the dataset" };
    form.querySelector("#shown").textContent = Object.keys(all)
      .filter((kind) => all[kind])
      .map((kind) => `${shown[kind].toLocaleString("en")} of ${all[kind].toLocaleString("en")} ${words[kind]}`)
      .join(", ");
  };

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}
