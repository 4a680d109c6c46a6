// The confusion matrix: a cell in words below it.
for (const table of all(".heat")) {
  const readout = table.closest(".matrix").querySelector(".matrix-readout"), hint = readout.textContent;
  const counted = table.closest(".matrix").dataset.counted; // images or pixels
  const names = all("thead th", table).slice(1).map((header) => header.textContent);
  table.addEventListener("pointerover", (event) => {
    const cell = event.target.closest("td"), row = cell?.parentElement;
    if (!cell) return;
    const counts = all("td", row).map((other) => Number(other.dataset.count));
    const total = counts.reduce((sum, count) => sum + count, 0), count = Number(cell.dataset.count);
    const share = total ? ((100 * count) / total).toFixed(1) : "0";
    const guess = names[cell.cellIndex - 1], truth = row.cells[0].textContent;
    readout.textContent = `${count.toLocaleString("en")} of ${total.toLocaleString("en")} test ${counted} of ${truth} (${share}%) are predicted as ${guess}.`;
  });
  table.addEventListener("pointerleave", () => {
    readout.textContent = hint;
  });
}
