"use strict";
// The page around the charts: light or dark, what stands under the pointer, and what seconds cost.
(() => {
  const root = document.documentElement;
  const dark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
  });

  const tip = document.getElementById("tip");
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest(".figure [role='graphics-symbol'][aria-label], [data-said]");
    const said = mark && (mark.dataset.said || mark.getAttribute("aria-label"));
    tip.hidden = !said;
    if (!said) return;
    tip.textContent = said;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.clientY + 16}px`;
  });

  document.getElementById("price").addEventListener("input", (event) => {
    const price = Number(event.target.value);
    for (const row of document.querySelectorAll(".lineage tr:has(.seconds)")) {
      const cost = (Number(row.querySelector(".seconds").textContent) / 3600) * price;
      row.querySelector(".cost").textContent = price > 0 ? cost.toFixed(2) : "";
    }
  });
})();
